"""Executions in Postgres, as clients read them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.runs.outcome import Outcome
from app.db.database import Database, Page, Row, Runner
from app.errors import ExecutionNotFound

INT8_MAX = 2**63 - 1


class Execution(Struct, frozen=True, kw_only=True):
    """One attempt as carried out, or the runs that were missed; kept when its job is deleted."""

    id: int
    job_id: UUID
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


class ExecutionFilter(Struct, frozen=True, kw_only=True):
    """Which executions to list; None in a field stands for any."""

    job_id: UUID | None = None
    outcomes: Sequence[Outcome] | None = None
    since: datetime | None = None
    """The earliest `finished_at`, included."""
    until: datetime | None = None
    """The latest `finished_at`, not included."""


async def list_page(
    db: Database, wanted: ExecutionFilter, *, before: int | None, limit: int
) -> Page[Execution]:
    """List executions, newest first, from the first one older than `before`."""
    found = await db.fetch_page(
        "executions.page",
        before=before,
        limit=limit,
        job_id=wanted.job_id,
        outcomes=wanted.outcomes,
        since=wanted.since,
        until=wanted.until,
    )
    return Page(items=[execution(row) for row in found.rows], more=found.more)


async def find(db: Runner, execution_id: int) -> Execution:
    """Find an execution.

    Raises:
        ExecutionNotFound: there is no such execution, or it was pruned.
    """
    if 0 <= execution_id <= INT8_MAX:
        for row in await db.fetch("executions.find", execution_id=execution_id):
            return execution(row)
    message = f"no execution has the id {execution_id}; old ones are not kept"
    raise ExecutionNotFound(message)


async def is_known_job(db: Runner, job_id: UUID) -> bool:
    """Return whether there is such a job, or was one whose executions are still kept."""
    [row] = await db.fetch("executions.known_job", job_id=job_id)
    return bool(row["known"])


def execution(row: Row) -> Execution:
    """Read an execution out of a row."""
    return Execution(**{**row, "outcome": Outcome(row["outcome"])})
