"""What happens in an instance, as typed facts; telemetry turns them into lines and numbers."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from app.core.runs.outcome import Outcome


class Connected(Struct, frozen=True, kw_only=True):
    """The session listens and has made its first look: nothing is missed from here on."""

    instance: str


class Disconnected(Struct, frozen=True, kw_only=True):
    """The session was lost or could not be opened; the instance goes on trying."""

    instance: str
    error: str


class Looked(Struct, frozen=True, kw_only=True):
    """One look: how many jobs it claimed and how long the instance means to sleep, seconds."""

    claimed: int
    sleep_seconds: float


class Planned(Struct, frozen=True, kw_only=True):
    """Jobs typed by hand were planned; `refused` of them got a `plan_error` instead."""

    jobs: int
    refused: int


class Started(Struct, frozen=True, kw_only=True):
    """An executor was given an attempt; `lag_seconds` counts from when it was due."""

    job_id: UUID
    execution_id: int
    kind: str
    attempt: int
    lag_seconds: float


class Settled(Struct, frozen=True, kw_only=True):
    """A claim was closed; `outcome` None: without an execution (given back, or found invalid)."""

    job_id: UUID
    name: str | None
    kind: str
    outcome: Outcome | None
    reason: str | None
    scheduled_for: datetime
    attempt: int
    next_run: datetime | None
    lag_seconds: float | None
    duration_seconds: float | None
    error: str | None


class PutAside(Struct, frozen=True, kw_only=True):
    """A job at which a statement about many failed; the others went on.

    `written`: its `plan_error` says so; else Postgres refused that as well, and this instance
    leaves the job alone for a minute.
    """

    job_id: UUID
    where: str
    written: bool
    error: str


class LeaseLost(Struct, frozen=True, kw_only=True):
    """Another instance may have taken the job over; our result is kept as evidence only."""

    job_id: UUID
    execution_id: int


class Draining(Struct, frozen=True, kw_only=True):
    """No more claims; executions get the grace, seconds, to end."""

    instance: str
    executions: int
    grace_seconds: float


class Stopped(Struct, frozen=True, kw_only=True):
    """The instance has drained: every claim of its own is settled."""

    instance: str


class Pruned(Struct, frozen=True, kw_only=True):
    """Upkeep made or dropped partitions of executions, or deleted long finished one-off jobs."""

    partitions_added: int
    partitions_dropped: int
    jobs_deleted: int


class UpkeepFailed(Struct, frozen=True, kw_only=True):
    """A step of the upkeep did not come to its end, or left rows; it is tried again later."""

    step: str
    error: str


class Access(StrEnum):
    """Whose requests the API serves."""

    KEYS = "with an API key"
    OPEN = "without an API key, from this machine only"
    UNKNOWN = "as the database says once it answers"


class ClockSetBack(Struct, frozen=True, kw_only=True):
    """The database's clock was ahead and was set back; so many plans were made in its future."""

    jobs: int


class Replanned(Struct, frozen=True, kw_only=True):
    """Newer time zone rules put planned runs elsewhere."""

    jobs: int
    rules: str


class Serving(Struct, frozen=True, kw_only=True):
    """The API takes requests."""

    address: str
    access: Access


class Ignored(Struct, frozen=True, kw_only=True):
    """Some of what was set has no effect."""

    setting: str
    because: str


class ProcessEnded(Struct, frozen=True, kw_only=True):
    """An instance that nobody told to stop has ended; another takes its place.

    `code` is its exit code, or minus the signal that killed it.
    """

    pid: int
    code: int
    restart_seconds: float


class DescriptorsExhausted(Struct, frozen=True, kw_only=True):
    """Executions were put off, without an attempt, as no file could be opened.

    `limit` is how many this process may have open.
    """

    limit: int


class Faulted(Struct, frozen=True, kw_only=True):
    """Something failed that should not: a bug, or a fault of the database that will be retried."""

    where: str
    error: str


Fact = (
    Connected
    | Disconnected
    | Looked
    | Planned
    | Started
    | Settled
    | PutAside
    | LeaseLost
    | Draining
    | Stopped
    | Pruned
    | UpkeepFailed
    | Replanned
    | ClockSetBack
    | Serving
    | Ignored
    | ProcessEnded
    | DescriptorsExhausted
    | Faulted
)
