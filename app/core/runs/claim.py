"""A job as one instance holds it, and what closes the hold."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import Schedule
from app.core.secrets.masking import Masked, Secret


class Misfire(StrEnum):
    """What happens to runs that nobody could start within the grace."""

    RUN_ONCE = "run_once"
    SKIP = "skip"
    RUN_ALL = "run_all"


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often and how far apart the attempts of one run are."""

    max_attempts: int
    """From 1; includes the first."""
    backoff_seconds: float
    backoff_max_seconds: float


class MisfirePolicy(Struct, frozen=True, kw_only=True):
    """How a run that comes too late is treated."""

    misfire: Misfire
    grace_seconds: float | None
    """None: the default of the kind of schedule."""
    max_catchup: int


class Claim(Masked, frozen=True, kw_only=True):
    """A job under a lease. `attempt` counts this one already."""

    job_id: UUID
    name: str | None
    kind: str
    target: Secret
    """The JSON text as stored: decoded only where one bad row can harm no other."""
    schedule: Schedule
    max_runs: int | None
    retry: RetryPolicy
    late: MisfirePolicy
    timeout_seconds: float
    next_run: datetime
    scheduled_for: datetime
    resume_at: datetime | None
    """The planned run that goes on after an extra one."""
    extra: bool
    """The run was asked for beside the plan, by a run now or a replay."""
    attempt: int
    fence: int
    execution_id: int
    claimed_at: datetime
    edited_at: datetime
    """Of the latest edit by a person that this claim has seen."""
    last_outcome: Outcome | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int


class Execution(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt as carried out, or the runs that a `missed` row stands for."""

    id: int | None = None
    job_id: UUID
    fence: int
    kind: str
    scheduled_for: datetime
    attempt: int | None = None
    outcome: Outcome
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime
    instance: str | None = None
    status_code: int | None = None
    response: str | None = None
    error: str | None = None
    missed_runs: int | None = None
    missed_until: datetime | None = None


class Settlement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a claim is closed: the job's new plan and summary, and what to record.

    Applied only under `fence`, of the claim at `claimed_at`; the plan only while the job's
    `next_run` is still `due_at`.
    """

    job_id: UUID
    fence: int
    claimed_at: datetime
    due_at: datetime
    next_run: datetime | None = None
    scheduled_for: datetime | None
    attempt: int
    extra: bool
    """Whether `next_run` still stands for a run that was asked for beside the plan.

    False after such a run: the plan goes on as the row then has it.
    """
    plan_error: str | None = None
    judged_at: datetime
    """The edit that `plan_error` is about; a later one is not refused for it."""
    last_outcome: Outcome | None = None
    last_finished_at: datetime | None = None
    consecutive_failures: int
    runs: int
    executions: list[Execution]
