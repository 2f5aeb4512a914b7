"""The plans of recurring jobs that were written in SQL, which an instance works out."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import Schedule
from app.db import calendars
from app.db.database import Runner
from app.db.schedules import schedule
from app.db.waiting import Finding, Position, Written, columns_of, written_of

JSON = msgspec.json.Encoder()


class Unplanned(Struct, frozen=True, kw_only=True):
    """A job written in SQL whose next run an instance has to work out."""

    job_id: UUID
    edited_at: datetime
    planned_from: datetime
    """The instant from which the runs count: of the latest edit or the end of a later run."""
    schedule: Schedule
    kept_run: datetime | None = None
    """The nominal instant of the run to come, if only its jitter was changed."""
    calendars: Sequence[str] = ()
    open_spans: Sequence[Span] | None = None
    """The time that its calendars leave open; None: it has none, or its runs are put off."""
    is_new: bool = False
    """Whether the job has neither been edited nor run since it was inserted."""


class Plan(Finding, frozen=True, kw_only=True):
    """The plan of an `Unplanned` job."""

    cron: str | None
    timezone: str
    every_seconds: float | None
    next_run: datetime | None
    scheduled_for: datetime | None


async def list_unplanned(
    db: Runner,
    *,
    after: Position | None = None,
    aside: Sequence[UUID] = (),
    only: Sequence[UUID] | None = None,
) -> list[Unplanned]:
    """Return up to 100 jobs that have yet to be planned, longest waiting first."""
    rows = await db.fetch("plans.unplanned", **columns_of(after), aside=aside, only=only)
    found = [
        Unplanned(
            job_id=row["job_id"],
            edited_at=row["edited_at"],
            planned_from=row["planned_from"],
            schedule=schedule(row),
            calendars=row["calendars"] or (),
            kept_run=row["kept_run"],
            is_new=row["is_new"],
        )
        for row in rows
    ]
    return [
        replace(
            one,
            open_spans=await calendars.open_spans(db, one.calendars, since=one.planned_from),
        )
        if one.calendars
        else one
        for one in found
    ]


async def list_unplanned_positions(
    db: Runner, *, after: Position | None, aside: Sequence[UUID]
) -> list[Position]:
    """Return the positions of the jobs that `list_unplanned` reads."""
    rows = await db.fetch("plans.unplanned_ids", **columns_of(after), aside=aside)
    return [Position(job_id=row["id"], edited_at=row["edited_at"]) for row in rows]


async def list_unplanned_lately(
    db: Runner, *, newer: str | None, aside: Sequence[UUID]
) -> list[UUID]:
    """Return up to five jobs that have yet to be planned, written since a `read_horizon`."""
    rows = await db.fetch("plans.unplanned_lately", newer=newer, aside=aside)
    return [row["id"] for row in rows]


async def write(db: Runner, plans: Sequence[Plan]) -> Written:
    """Write the plans of jobs that are neither locked nor edited since they were read."""
    rows = await db.fetch("plans.write", plans=JSON.encode(plans).decode())
    return written_of(rows)
