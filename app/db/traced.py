"""What the spans of attempts link to: who made the job, and the attempts before of the run."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.db.database import Runner


class Attempt(Struct, frozen=True, kw_only=True):
    """An execution with its job, and the instant that its run is for."""

    id: int
    job_id: UUID
    scheduled_for: datetime


class Before(Struct, frozen=True, kw_only=True):
    """The attempts of a run before one of its executions."""

    id: int
    """The execution that was asked about."""
    before: int
    """The execution before it."""
    began_at: datetime
    """When the first of the run started."""


async def read_makers(db: Runner, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return what `metadata.traceparent` of these jobs says, of those that have any."""
    rows = await db.fetch("traced.makers", ids=ids)
    return {row["id"]: row["traceparent"] for row in rows if row["traceparent"] is not None}


async def read_before(db: Runner, attempts: Sequence[Attempt]) -> dict[int, Before]:
    """Return what came before some executions, by their ids."""
    if not attempts:
        return {}
    rows = await db.fetch(
        "traced.attempts_before",
        ids=[one.id for one in attempts],
        job_ids=[one.job_id for one in attempts],
        runs=[one.scheduled_for for one in attempts],
    )
    return {row["id"]: Before(**row) for row in rows}
