"""Pauses of jobs, of tags and of everything."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from app.core.runs.resume import Openings
from app.db.calendars import spans
from app.db.database import Database, Runner
from app.wire.pauses import Pause


class Scope(IntEnum):
    """What is paused, in the order that the look reads them."""

    ALL = 0
    TAG = 1
    JOB = 2


async def hold_claimed(db: Runner, ids: Sequence[UUID]) -> list[UUID]:
    """Pause the jobs of claimed rows that have a paused tag; return those of these rows."""
    return [row["id"] for row in await db.fetch("pauses.hold_claimed", ids=ids)]


async def read_seconds_to_end(db: Runner, *, believed: datetime | None) -> float | None:
    """Return in how many seconds the first pause ends by itself; None if none does."""
    rows = await db.fetch("pauses.seconds_to_end", believed=believed)
    return rows[0]["seconds"] if rows else None


async def end_over(db: Runner, *, believed: datetime | None) -> int:
    """End up to 100 pauses whose time is over, and return how many."""
    rows = await db.fetch("pauses.end_over", believed=believed)
    return int(rows[0]["ended"])


async def pause_job(db: Runner, id: UUID, *, reason: str | None, until: datetime | None) -> bool:
    """Pause a job; return whether it was written."""
    return bool(await db.fetch("pauses.pause_job", job_id=id, reason=reason, until=until))


async def pause_unchanged(db: Runner, id: UUID, *, reason: str, since: datetime) -> bool:
    """Pause a job that nobody has edited since an instant; return whether it was written."""
    return bool(await db.fetch("pauses.pause_unchanged", job_id=id, reason=reason, since=since))


async def read_openings(db: Runner, id: UUID, *, since: datetime, until: datetime) -> Openings:
    """Return the time between two instants in which runs of a job may be carried out."""
    for row in await db.fetch("pauses.openings", job_id=id, since=since, until=until):
        return Openings(
            open_times=spans(row["starts"], row["ends"]),
            waiting_times=spans(row["waiting_starts"], row["waiting_ends"]),
        )
    return Openings()


async def resume_job(db: Runner, id: UUID, *, missed: str | None) -> bool:
    """Resume a job; return whether it was written."""
    return bool(await db.fetch("pauses.resume_job", job_id=id, missed=missed))


async def pause_tag(db: Runner, tag: str, *, reason: str | None, until: datetime | None) -> UUID:
    """Pause all jobs that have a tag; return the id of the pause."""
    rows = await db.fetch("pauses.pause_tag", tag=tag, reason=reason, until=until)
    id: UUID = rows[0]["id"]
    return id


async def pause_all(db: Runner, *, reason: str | None, until: datetime | None) -> UUID:
    """Pause everything; return the id of the pause."""
    id: UUID = (await db.fetch("pauses.pause_all", reason=reason, until=until))[0]["id"]
    return id


async def end(db: Runner, id: UUID, *, missed: str | None) -> bool:
    """End a pause of a tag or of everything; return whether there was one."""
    rows = await db.fetch("pauses.end", id=id, missed=missed)
    return rows[0]["jobs"] is not None


async def list_all(db: Database, *, limit: int) -> list[Pause]:
    """List the pauses of everything and of tags, the first in force first."""
    return [Pause(**row) for row in await db.fetch("pauses.list_all", limit=limit)]


async def count_jobs(db: Runner, id: UUID) -> int:
    """Count the jobs that a pause holds up which are due, up to 100,000."""
    return int((await db.fetch("pauses.count_jobs", id=id))[0]["jobs"])


async def count_waiting(db: Runner, tag: str | None) -> int:
    """Count the jobs with a tag, None: all, that wait for a run unpaused; up to 100,000."""
    return int((await db.fetch("pauses.count_waiting", tag=tag))[0]["jobs"])


async def find_pausing_tag(db: Runner, job_id: UUID) -> str | None:
    """Return the paused tag that a job has; None if it has none."""
    rows = await db.fetch("pauses.pausing_tag", job_id=job_id)
    return rows[0]["tag"] if rows else None
