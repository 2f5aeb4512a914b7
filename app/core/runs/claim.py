"""A claim (a job, or a run beside its plan, under the lease of one instance) and its settlement."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from app.core.runs.outcome import Outcome
from app.core.runs.priority import rank
from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import Schedule
from app.core.schedule.spread import effective
from app.core.secrets.masking import Masked, Secret


class Misfire(StrEnum):
    """What happens to runs that no instance could start within the grace."""

    RUN_ONCE = "run_once"
    SKIP = "skip"
    RUN_ALL = "run_all"


class Overlap(StrEnum):
    """What happens to a run that comes due while the run before it is unfinished."""

    SKIP = "skip"
    """The run is missed."""
    BUFFER_ONE = "buffer_one"
    """The latest such run is carried out next; the others are missed."""
    BUFFER_ALL = "buffer_all"
    """Each waits its turn, for as long as its grace; then `misfire` decides."""
    CANCEL_OTHER = "cancel_other"
    """The run before is cut off, and this one carried out."""
    ALLOW_ALL = "allow_all"
    """Runs are carried out side by side."""


class OnClosed(StrEnum):
    """What happens to a run that falls into time that the calendars of its job close."""

    SKIP = "skip"
    """The run is missed."""
    NEXT_OPEN = "next_open"
    """The latest such run is carried out once the calendars open; the others are missed."""


class Missed(StrEnum):
    """What becomes of the runs that a job missed while it was paused."""

    SKIP = "skip"
    ONCE = "once"
    """The latest of them is carried out."""
    ALL = "all"
    """The latest `max_catchup` of them are carried out, the oldest first."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often and how far apart the attempts of one run are."""

    max_attempts: int
    """At least 1; the first attempt counts."""
    backoff_seconds: float
    """The wait before the first retry; each further wait is twice as long as the one before."""
    backoff_max_seconds: float
    """The longest wait."""


class MisfirePolicy(Struct, frozen=True, kw_only=True):
    """How a run that comes too late is treated."""

    misfire: Misfire
    grace_seconds: float | None
    """None stands for 60 s for a recurring schedule and for no limit for a one-off."""
    max_catchup: int
    """With `run_all`: how many of the latest missed runs are carried out."""


class Claim(Masked, frozen=True):
    """A job, or a run beside its plan, under a lease.

    A run beside the plan has a one-off schedule, and what is to be done as its job has it.
    `attempt` counts the attempt that this claim is for.
    """

    id: UUID
    """The row that is claimed: the job's own, or that of a run beside its plan."""
    job_id: UUID
    name: str | None
    kind: str
    target: Secret
    """The JSON text as stored: decoding waits until a bad row can harm no other claim."""
    schedule: Schedule
    max_runs: int | None
    retry: RetryPolicy
    late: MisfirePolicy
    overlap: Overlap
    timeout_seconds: float
    next_run: datetime
    scheduled_for: datetime
    attempt: int
    fence: int
    execution_id: int
    claimed_at: datetime
    edited_at: datetime
    """When a person last edited the job, as of this claim."""
    last_outcome: Outcome | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int
    priority: int = 0
    skip_runs: int | None = None
    """So many runs of the plan are to be skipped; None: none are."""
    skip_until: datetime | None = None
    """All runs of the plan before this instant are to be skipped."""
    resumed_at: datetime | None = None
    """When the job was last resumed with a word for the runs that it missed."""
    resume_missed: Missed | None = None
    """What becomes of its runs up to `resumed_at`; None: what its misfire policy says."""
    calendars: Sequence[str] = ()
    """The calendars that the job keeps to, or with a "!" before it avoids."""
    on_closed: OnClosed = OnClosed.SKIP
    min_gap_seconds: float | None = None
    """How long after the end of one run the next one starts at the earliest; None: at once."""
    retaken: bool = False
    """Whether the look found that the claim before this one was lost."""
    open_times: Sequence[Span] | None = None
    """When its runs may be carried out, in order, from this run to the end of this attempt at the
    latest; None: always, as far as is known. Read just before the attempt."""
    may_be_maintained_next: bool = False
    """Whether the run that would cancel this one falls into the time of windows of maintenance,
    which may be those of other jobs."""
    paused: bool = False
    """Whether a tag of the job is paused, which the look found once it had claimed the job."""

    request: str | None = None
    """What asked for a run beside the plan: run_now, replay or backfill; None: the plan."""

    @property
    def due_at(self) -> datetime:
        """When its run came due, if that was as planned; a deferral leaves it as it was."""
        at = effective(self.schedule, self.scheduled_for, job_id=self.job_id)
        return min(at, self.next_run)

    @property
    def last_ended_at(self) -> datetime | None:
        """When a run of its job last ended; None: none has been carried out yet.

        `last_finished_at` is then when the first one was missed.
        """
        is_new = self.runs == 0 and self.last_outcome is Outcome.MISSED
        return None if is_new else self.last_finished_at

    @property
    def rank(self) -> datetime:
        """Its place among due claims, see `rank`."""
        return rank(self.next_run, self.priority) if self.priority else self.next_run

    @property
    def is_planned_first(self) -> bool:
        """Whether this is the first attempt of a planned run, which `next_run` is the start of."""
        return self.attempt == 1 and (
            self.next_run == self.scheduled_for or self.schedule.has_jitter or self.is_put_off
        )

    @property
    def is_resumed(self) -> bool:
        """Whether it is for the first attempt of a run that was due while its job was paused.

        And whoever resumed the job said what becomes of such runs.
        """
        return (
            self.resume_missed is not None
            and self.resumed_at is not None
            and self.attempt == 1
            and self.run_id is None
            and self.due_at <= self.resumed_at
        )

    @property
    def is_made_up_for(self) -> bool:
        """Whether it is for the first attempt of a late run that goes before those due by now."""
        if self.attempt != 1:
            return False
        is_all = self.late.misfire is Misfire.RUN_ALL
        return is_all or (self.resume_missed is Missed.ALL and self.is_resumed)

    @property
    def is_last(self) -> bool:
        """Whether `max_runs` allows no further run of the plan."""
        return self.max_runs is not None and self.runs + 1 >= self.max_runs

    @property
    def is_put_off(self) -> bool:
        """Whether closed time, or the gap after the run before, put the run off to `next_run`."""
        is_judged = bool(self.calendars) or self.min_gap_seconds is not None
        return is_judged and self.next_run > self.scheduled_for

    flow_key: str | None = None
    """The flow whose limits count for the job; None without one."""
    is_timed: bool = False
    """Whether the flow limits the rate of starts, so that each start is to be told."""
    waiting_since: datetime | None = None
    """Since when jobs of the flow have waited for a permit; None if none did."""

    @property
    def run_id(self) -> UUID | None:
        """The row of a run beside the plan; None for a run of the plan."""
        return None if self.id == self.job_id else self.id


class Execution(Struct, frozen=True, omit_defaults=True):
    """One attempt as carried out, or the runs that a `missed` row stands for."""

    job_id: UUID
    fence: int
    kind: str
    scheduled_for: datetime
    outcome: Outcome
    finished_at: datetime
    id: int | None = None
    run_id: UUID | None = None
    """The row that was claimed, where that is not the job's own."""
    attempt: int | None = None
    reason: str | None = None
    started_at: datetime | None = None
    instance: str | None = None
    status_code: int | None = None
    response: str | None = None
    error: str | None = None
    missed_runs: int | None = None
    missed_until: datetime | None = None


class Settlement(Struct, frozen=True):
    """How a claim is closed: the job's new plan and summary, and the executions to record.

    A settlement applies only if the job still has the `fence` of the claim made at `claimed_at`.
    Its plan applies only if the job's `next_run` is still `expected_next_run`: an edit in between
    wins.
    """

    id: UUID
    """The row that was claimed: the job's own, or that of a run beside its plan."""
    fence: int
    claimed_at: datetime
    expected_next_run: datetime
    edit_seen_at: datetime
    """The edit that `plan_error` is about; a later edit of the job discards the `plan_error`."""
    scheduled_for: datetime | None
    attempt: int
    last_outcome: Outcome | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int
    executions: list[Execution]
    next_run: datetime | None = None
    plan_error: str | None = None
    skip_runs: int | None = None
    """So many runs are still to be skipped, unless that was edited; None: leaves that as it is."""

    @property
    def is_success(self) -> bool:
        """Whether it records an execution that succeeded, as the last one."""
        return bool(self.executions) and self.executions[-1].outcome is Outcome.SUCCEEDED
