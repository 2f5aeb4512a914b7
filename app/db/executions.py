"""Executions in Postgres, as clients read them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.runs.outcome import Outcome
from app.db.database import Database, Page, Row, Runner
from app.errors import ExecutionNotFound
from app.wire.executions import Execution

INT8_MAX = 2**63 - 1


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
