"""Why a job has not run, when it will, and what became of its runs."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.jobs.job import JobState


class Holder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An execution that has a permit of a flow."""

    job_id: UUID
    name: str | None = None
    execution_id: int | None = None
    instance: str | None = None
    until: datetime | None = None


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a reason is about; only the fields that its word has."""

    run: Annotated[datetime | None, Meta(description="The run, by its scheduled_for.")] = None
    attempt: int | None = None
    max_attempts: int | None = None
    execution_id: int | None = None
    instance: str | None = None
    outcome: str | None = None
    why: Annotated[str | None, Meta(description="The reason of the execution.")] = None
    error: str | None = None
    status_code: int | None = None
    consecutive_failures: Annotated[
        int | None, Meta(description="How many runs in a row did not succeed.")
    ] = None
    missed_runs: int | None = None
    missed_until: datetime | None = None
    kind: str | None = None
    request: Annotated[str | None, Meta(description="run_now or replay.")] = None
    run_id: UUID | None = None
    pending_runs: int | None = None
    plan: Annotated[datetime | None, Meta(description="The planned run that waits.")] = None
    max_runs: int | None = None
    runs: int | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    tag: Annotated[str | None, Meta(description="The tag that is paused.")] = None
    skip_runs: int | None = None
    skip_until: datetime | None = None
    calendars: Annotated[list[str], Meta(description="Those of the job.")] = []
    maintenance: Annotated[UUID | None, Meta(description="The window that the run is in.")] = None
    maintenance_reason: str | None = None
    calendar: Annotated[str | None, Meta(description="The calendar of that window.")] = None
    set_by: Annotated[str | None, Meta(description="Who set it.")] = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    pid: Annotated[int | None, Meta(description="Of the session that has a lock.")] = None
    application_name: str | None = None
    before: Annotated[int | None, Meta(description="The execution before that instant.")] = None
    after: Annotated[int | None, Meta(description="The execution after that instant.")] = None
    flow_key: str | None = None
    permits: Annotated[int | None, Meta(description="How many its flow has.")] = None
    taken: Annotated[int | None, Meta(description="How many of these are in use.")] = None
    holders: Annotated[list[Holder], Meta(description="Who has them; the first ten.")] = []


class Reason(Struct, frozen=True, kw_only=True):
    """One thing that holds a job, or that became of a run."""

    reason: Annotated[str, Meta(description="A stable word.", examples=["paused"])]
    detail: Annotated[str, Meta(description="A sentence for people.")]
    since: datetime | None
    until: Annotated[
        datetime | None, Meta(description="When it ends by itself, or ended; null: not known.")
    ]
    facts: Facts


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a job has not run or when it will; with `at`, what became of the run of that instant."""

    state: JobState
    summary: Annotated[str, Meta(description="The first reason's sentence.")]
    next_run: datetime | None
    reasons: Annotated[list[Reason], Meta(description="What holds it now comes first.")]
