"""Windows of maintenance in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.runs.claim import OnClosed
from app.core.runs.closing import Maintained
from app.core.schedule.occurrences import Span
from app.db.calendars import spans
from app.db.database import Row, Runner
from app.errors import MaintenanceNotFound
from app.wire.calendars import CalendarTime
from app.wire.maintenance import Maintenance, NewMaintenance

STEP_JOBS = 500
"""How many jobs one statement replans."""


async def begin(db: Runner, wanted: NewMaintenance) -> UUID:
    """Lay a window; return its id."""
    [row] = await db.fetch(
        "maintenance.begin",
        tag=wanted.tag,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        calendar=wanted.calendar,
        on_closed=wanted.on_closed,
        reason=wanted.reason,
    )
    id: UUID = row["id"]
    return id


async def end(db: Runner, id: UUID) -> None:
    """End a window, or take it back.

    Raises:
        MaintenanceNotFound: there is none of this id.
    """
    [row] = await db.fetch("maintenance.end", id=id)
    if not row["ended"]:
        raise MaintenanceNotFound(no_window(id))


async def find(db: Runner, id: UUID) -> Maintenance:
    """Find a window.

    Raises:
        MaintenanceNotFound: there is none of this id.
    """
    for one in await list_all(db):
        if one.id == id:
            return one
    raise MaintenanceNotFound(no_window(id))


def no_window(id: UUID) -> str:
    return f"no maintenance has the id {str(id)!r}: perhaps it was ended"


async def list_all(db: Runner) -> list[Maintenance]:
    """List the windows: first those that are under way, or begin soonest."""
    return [maintenance(row) for row in await db.fetch("maintenance.list_all")]


async def list_under_way(db: Runner, tags: Sequence[str] | None = None) -> list[Maintenance]:
    """List the windows under way; with tags those that concern a job which has these."""
    return [maintenance(row) for row in await db.fetch("maintenance.under_way", tags=tags)]


def maintenance(row: Row) -> Maintenance:
    """Read a window out of a row."""
    columns = dict(row)
    start, end = columns.pop("next_start"), columns.pop("next_end")
    near = None if end is None else CalendarTime(start=start, end=end)
    return Maintenance(next=near, on_closed=OnClosed(columns.pop("on_closed")), **columns)


async def read_spans(db: Runner) -> list[Span]:
    """Return the time of all windows around now, in order."""
    [row] = await db.fetch("maintenance.spans")
    return spans(row["starts"], row["ends"])


async def list_concerned(db: Runner, job_ids: Sequence[UUID]) -> frozenset[UUID]:
    """List those of some jobs whose tags a window is laid over, at whatever time."""
    return frozenset(row["id"] for row in await db.fetch("maintenance.concerned", job_ids=job_ids))


async def read_closing(
    db: Runner, job_id: UUID, *, at: datetime, since: datetime, until: datetime
) -> Maintained:
    """Return what windows make of a run of a job that is due at an instant.

    Also the time between two others in which they have runs missed.
    """
    rows = await db.fetch("maintenance.closing", job_id=job_id, at=at, since=since, until=until)
    if not rows:
        return Maintained()
    [row] = rows
    if row["window_id"] is None:
        return Maintained(missed_times=spans(row["starts"], row["ends"]))
    return Maintained(
        window_id=row["window_id"],
        on_closed=OnClosed(row["on_closed"]),
        reason=row["reason"],
        closed_until=row["closed_until"],
        missed_times=spans(row["starts"], row["ends"]),
    )


async def note_put_off(db: Runner, job_id: UUID, window_id: UUID, *, until: datetime) -> None:
    """Note that a window has put the run of a job off."""
    await db.fetch("maintenance.note_put_off", job_id=job_id, window_id=window_id, until=until)


async def replan(db: Runner) -> int:
    """Replan the next jobs that a window put off which has changed; return how many there were."""
    [row] = await db.fetch("maintenance.replan", many=STEP_JOBS)
    return int(row["seen"])
