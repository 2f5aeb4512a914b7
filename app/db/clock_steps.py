"""Repairs leases and plans that were made while the database's clock was ahead.

See docs/adr/0051.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.schedule.schedule import Schedule
from app.db import walks
from app.db.database import Row, Runner
from app.db.schedules import schedule
from app.db.walks import Move, Step


class Plan(Struct, frozen=True, kw_only=True):
    """A job's plan that was made while the clock was ahead."""

    job_id: UUID
    schedule: Schedule
    next_run: datetime
    scheduled_for: datetime | None
    last_finished_at: datetime | None
    retried: bool
    """Whether `next_run` is a retry of the same run, rather than the schedule's next run."""


async def has_future(db: Runner) -> bool:
    """Return whether the newest execution lies in the future: the clock was set back since."""
    [row] = await db.fetch("clock_steps.future")
    return bool(row["future"])


async def shorten_leases(db: Runner, *, lease_seconds: float) -> int:
    """Shorten leases that end later than any lease can, to `lease_seconds`; return how many."""
    return len(await db.fetch("clock_steps.shorten_leases", lease_seconds=lease_seconds))


async def count_held(db: Runner) -> int:
    """Count the leases that are held since a look in the future."""
    [row] = await db.fetch("clock_steps.held")
    return int(row["held"])


async def release_flows(db: Runner) -> None:
    """Forget what keeps flows from starts until an instant that lies too far ahead."""
    await db.fetch("clock_steps.release_flows")


async def read_step(db: Runner, after: UUID, many: int) -> Step[Plan] | None:
    """Read the next `many` jobs, and the plans among them to repair."""
    return await walks.read_step(db, "clock_steps.step", plan, after, many)


def plan(row: Row) -> Plan:
    return Plan(
        job_id=row["id"],
        schedule=schedule(row),
        next_run=row["next_run"],
        scheduled_for=row["scheduled_for"],
        last_finished_at=row["last_finished_at"],
        retried=row["retried"],
    )


async def move(db: Runner, moves: Sequence[Move]) -> int:
    """Repair the plans of jobs that are unchanged since they were read; return how many."""
    return await walks.move(db, "clock_steps.move", moves)
