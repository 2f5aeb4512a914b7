"""Executions as they are answered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.runs.outcome import Outcome
from app.wire.pages import Page


class Execution(Struct, frozen=True, kw_only=True):
    """One attempt as carried out, or the runs that were missed; kept when its job is deleted."""

    id: int
    job_id: UUID
    job_name: Annotated[str | None, Meta(description="As the job is called now, if there is one.")]
    tags: Annotated[list[str], Meta(description="Those that the job has now.")]
    fence: Annotated[int | None, Meta(description="The claim that it was carried out under.")]
    kind: str
    scheduled_for: Annotated[datetime, Meta(description="The run; of missed ones the first.")]
    attempt: Annotated[int | None, Meta(description="From 1; null where a run was missed.")]
    outcome: Outcome
    reason: Annotated[str | None, Meta(description="A stable word, such as status or dns.")]
    started_at: Annotated[
        datetime | None, Meta(description="When the request went out, or the attempt began.")
    ]
    finished_at: datetime
    instance: str | None
    status_code: int | None
    response: Annotated[str | None, Meta(description="The first part of what was answered.")]
    error: str | None
    missed_runs: Annotated[int | None, Meta(description="How many runs a missed row stands for.")]
    missed_until: Annotated[datetime | None, Meta(description="The last of them.")]
    lag_seconds: Annotated[float | None, Meta(description="From scheduled_for to started_at.")]
    duration_seconds: Annotated[float | None, Meta(description="From started_at to finished_at.")]


class ExecutionPage(Page[Execution], frozen=True, kw_only=True):
    """Executions, newest first."""


class Cancellation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an execution is to be cancelled."""

    retry: Annotated[
        bool, Meta(description="Have another attempt follow after the backoff, if one is left.")
    ] = False
