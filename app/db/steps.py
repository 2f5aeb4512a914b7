"""What a clock of the database that was ahead, and was set back, has left behind."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, json

from app.core.schedule.schedule import Schedule
from app.db.claims import schedule
from app.db.database import Runner


class Plan(Struct, frozen=True, kw_only=True):
    """A plan that was made in the future."""

    job_id: UUID
    schedule: Schedule
    next_run: datetime
    last_finished_at: datetime | None
    retried: bool
    """The same run is to be tried again; else it is the next one of a schedule."""


class Step(Struct, frozen=True, kw_only=True):
    """A part of all jobs."""

    last_id: UUID
    now: datetime
    plans: list[Plan]


class Move(Struct, frozen=True, kw_only=True):
    """Where such a plan belongs."""

    job_id: UUID
    next_run: datetime
    moved_to: datetime
    same_run: bool


async def has_future(db: Runner) -> bool:
    """Tell whether the newest execution lies in the future."""
    [row] = await db.fetch("steps.future")
    return bool(row["future"])


async def shorten_leases(db: Runner, *, lease_seconds: float) -> int:
    """Shorten leases that are longer than any; return how many."""
    return len(await db.fetch("steps.shorten_leases", lease_seconds=lease_seconds))


async def step(db: Runner, *, after: UUID, many: int) -> Step | None:
    """Read the next jobs in the order of their ids; None: there are no more."""
    rows = await db.fetch("steps.step", after=after, many=many)
    if not rows:
        return None
    return Step(
        last_id=rows[0]["last_id"],
        now=rows[0]["now"],
        plans=[
            Plan(
                job_id=row["id"],
                schedule=schedule(row),
                next_run=row["next_run"],
                last_finished_at=row["last_finished_at"],
                retried=row["retried"],
            )
            for row in rows
            if row["id"] is not None
        ],
    )


async def move(db: Runner, moves: Sequence[Move]) -> int:
    """Write new plans where nothing has changed since; return how many."""
    return len(await db.fetch("steps.move", moves=json.encode(moves).decode()))
