"""What happened in an instance, as typed facts; telemetry turns them into log lines."""

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from msgspec import Struct

from app.core.runs.claim import Claim, Settlement
from app.core.runs.outcome import Outcome


class Connected(Struct, frozen=True, kw_only=True):
    """The instance listens for notifications and has looked: from now on it misses no job."""

    instance: str
    away_seconds: float | None = None
    """Since the session before this one was lost; None for the first."""


class Disconnected(Struct, frozen=True, kw_only=True):
    """The instance's listening session was lost or could not be opened; the instance retries."""

    instance: str
    error: str


class Retrying(Struct, frozen=True, kw_only=True):
    """A statement or a connection failed and is tried again after so many seconds."""

    error: str
    tries: int
    """How many have failed in a row."""
    wait_seconds: float


class Cause(StrEnum):
    """What ended the sleep before a look."""

    NOTIFICATION = "notification"
    """A trigger on `tocsin.jobs` notified of a job that is due soon."""
    TIMER = "timer"
    """The instant came for which the sleep was planned."""
    ROOM = "room"
    """A slot got free, or other work of this instance calls for a look."""


class Looked(Struct, frozen=True, kw_only=True):
    """A look ended: how many jobs it claimed, and the seconds until the next look."""

    claimed: int
    sleep_seconds: float
    cause: Cause
    took_seconds: float
    """From the statement to its result."""
    woken_seconds: float
    """From the wake-up to the result, with what the instance did in between."""


class Planned(Struct, frozen=True, kw_only=True):
    """Jobs written in SQL were planned; `refused` of them got a `plan_error` instead."""

    jobs: int
    refused: int
    refusals: str | None = None
    """The first few of these with the reasons, and how many more there are."""


class Started(Struct, frozen=True, kw_only=True):
    """An attempt's request went out; `lag_seconds` counts from the claim's `next_run`."""

    job_id: UUID
    execution_id: int
    kind: str
    attempt: int
    lag_seconds: float


class Settled(Struct, frozen=True, kw_only=True):
    """A claim was closed; `outcome` is None for a job that was released or found invalid."""

    job_id: UUID
    name: str | None
    kind: str
    execution_id: int | None
    run_id: UUID | None = None
    """The row of a run beside the plan; None for a run of the plan."""
    outcome: Outcome | None
    reason: str | None
    missed_runs: int
    """How many missed runs the settlement records, beside an execution too."""
    missed_reason: str | None = None
    """Why these were missed."""
    ended: bool
    """Whether the run is over: no further attempt follows."""
    deferred: bool
    """Whether the same run is due again later, without an attempt having been made."""
    scheduled_for: datetime
    attempt: int
    next_run: datetime | None
    started_at: datetime | None = None
    lag_seconds: float | None
    duration_seconds: float | None
    status_code: int | None = None
    error: str | None

    @property
    def is_fine(self) -> bool:
        """Whether the execution succeeded, or there was none and nothing went wrong."""
        return self.outcome is Outcome.SUCCEEDED or (self.outcome, self.error) == (None, None)

    @classmethod
    def of(cls, claim: Claim, settlement: Settlement) -> Self:
        """Return the fact that tells what a settlement did."""
        last = settlement.executions[-1] if settlement.executions else None
        missed = [one for one in settlement.executions if one.outcome is Outcome.MISSED]
        started = last.started_at if last else None
        return cls(
            job_id=claim.job_id,
            name=claim.name,
            kind=claim.kind,
            execution_id=last.id if last else None,
            run_id=claim.run_id,
            outcome=last.outcome if last else None,
            reason=last.reason if last else None,
            missed_runs=sum(one.missed_runs or 1 for one in missed),
            missed_reason=missed[0].reason if missed else None,
            ended=last is not None and settlement.attempt == 0,
            deferred=last is None and settlement.next_run != claim.next_run,
            scheduled_for=claim.scheduled_for,
            attempt=claim.attempt,
            next_run=settlement.next_run,
            started_at=started,
            lag_seconds=(started - claim.next_run).total_seconds() if started else None,
            duration_seconds=(last.finished_at - started).total_seconds()
            if last and started
            else None,
            status_code=last.status_code if last else None,
            error=settlement.plan_error or (last.error if last else None),
        )


class BatchSettled(Struct, frozen=True, kw_only=True):
    """Postgres took settlements in one statement, after so many seconds."""

    settlements: int
    took_seconds: float


class LeasesExtended(Struct, frozen=True, kw_only=True):
    """Leases of executions under way were extended in one statement."""

    leases: int


class PutAside(Struct, frozen=True, kw_only=True):
    """A statement about many jobs failed at this job, which was then left out of the statement.

    With `written`, the job's `plan_error` tells why. Without, Postgres refused to write that too,
    and this instance leaves the job alone for a minute.
    """

    job_id: UUID
    where: str
    written: bool
    error: str


class LeaseLost(Struct, frozen=True, kw_only=True):
    """The lease ended before the settlement: the execution is recorded, the job is unchanged."""

    job_id: UUID
    execution_id: int


class TakenOver(Struct, frozen=True, kw_only=True):
    """A job was claimed whose execution was lost by another instance, which may have died."""

    job_id: UUID
    name: str | None
    execution_id: int
    lost_by: str | None
    """The instance that held the lease, which ended before a settlement."""


class Draining(Struct, frozen=True, kw_only=True):
    """The instance stopped claiming; its executions have `grace_seconds` to end."""

    instance: str
    executions: int
    grace_seconds: float


class Stopped(Struct, frozen=True, kw_only=True):
    """The instance has drained: each of its claims is settled."""

    instance: str


class Pruned(Struct, frozen=True, kw_only=True):
    """Upkeep added or dropped partitions of executions, or deleted long-finished one-off jobs."""

    partitions_added: int
    partitions_dropped: int
    jobs_deleted: int


class UpkeepFailed(Struct, frozen=True, kw_only=True):
    """A step of the upkeep failed or left rows; the next upkeep tries the step again."""

    step: str
    error: str


class Access(StrEnum):
    """Which requests the API serves."""

    KEYS = "with an API key"
    OPEN = "without an API key, from this machine only"
    UNKNOWN = "as the database says once it answers"
    PINGS = "only pings of checks"


class ClockSetBack(Struct, frozen=True, kw_only=True):
    """The database's clock was set back; `jobs` plans made by the wrong clock were redone."""

    jobs: int


class Replanned(Struct, frozen=True, kw_only=True):
    """Newer time zone rules moved the planned runs of this many jobs."""

    jobs: int
    rules: str


class Alerted(Struct, frozen=True, kw_only=True):
    """A rule told of a job."""

    rule: str
    alert_event: str
    """The event of the rule, such as `failed`; `event` is the name of a line in the log."""
    job_id: UUID


class BulkEnded(Struct, frozen=True, kw_only=True):
    """This instance came to the end of a bulk action."""

    id: UUID
    action: str


class Serving(Struct, frozen=True, kw_only=True):
    """The API accepts requests at `address`."""

    address: str
    access: Access


class Requested(Struct, frozen=True, kw_only=True):
    """A request to the API was answered, or its client left before that.

    What a client wrote is left out, as paths and queries may have secrets: `route` is the path with
    the names of its parameters, and empty where nothing is at the path.
    """

    method: str
    route: str
    status: int | None
    """None if the client left first."""
    duration_seconds: float
    sent_bytes: int
    """The length of the answer's body."""
    client: str | None
    """The address that the request came from, as trusted proxies tell it."""
    caller: str | None
    """The API key by its prefix and name, or `loopback`; None for a request that needs neither."""


class Ignored(Struct, frozen=True, kw_only=True):
    """A setting has no effect, for the reason in `because`."""

    setting: str
    because: str


class ProcessEnded(Struct, frozen=True, kw_only=True):
    """A child process ended without being told to stop; after `restart_seconds` another starts.

    `code` is the exit code of the process, or minus the number of the signal that killed it.
    """

    pid: int
    code: int
    restart_seconds: float


class DescriptorsExhausted(Struct, frozen=True, kw_only=True):
    """The process could open no more files.

    Claims were deferred without an attempt, or connections to the API were closed unread. `limit`
    is how many files the process may have open.
    """

    limit: int


class Faulted(Struct, frozen=True, kw_only=True):
    """An unexpected failure at `where`: a bug, or an error of the database, which is retried."""

    where: str
    error: str


Fact = (
    Connected
    | Disconnected
    | Retrying
    | Looked
    | Planned
    | Started
    | Settled
    | BatchSettled
    | LeasesExtended
    | PutAside
    | LeaseLost
    | TakenOver
    | Draining
    | Stopped
    | Pruned
    | UpkeepFailed
    | Replanned
    | Alerted
    | BulkEnded
    | ClockSetBack
    | Serving
    | Requested
    | Ignored
    | ProcessEnded
    | DescriptorsExhausted
    | Faulted
)
