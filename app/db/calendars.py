"""Named calendars in Postgres: written, worked out, asked, and the jobs that use them replanned."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from app.core.runs.closing import Closing
from app.core.schedule.calendars import CalendarRules
from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import LATEST
from app.db.database import Database, Page, Row, Runner
from app.errors import CalendarNotFound, CalendarUsed, FieldError, InvalidInput
from app.wire.calendars import Calendar, CalendarDocument, CalendarTime

STEP_JOBS = 500
"""How many jobs that use a calendar one statement replans."""


class Unworked(Struct, frozen=True, kw_only=True):
    """A calendar whose times have to be worked out."""

    name: str
    updated_at: datetime
    rules: CalendarRules
    now: datetime


class ReplanStep(NamedTuple):
    """What one step of replanning did."""

    calendar: str | None
    """None: no calendar has jobs to be replanned, or other instances are at them."""
    seen: int
    moved: int


async def put(db: Database, name: str, document: CalendarDocument, spans: Sequence[Span]) -> bool:
    """Write a calendar with its times; return whether it is new."""
    async with db.transaction() as transaction:
        return await write(transaction, name, document, spans)


async def write(db: Runner, name: str, document: CalendarDocument, spans: Sequence[Span]) -> bool:
    """Do what `put` does, in a transaction."""
    rules = document.rules()
    [row] = await db.fetch(
        "calendars.put",
        name=name,
        description=document.description,
        timezone=rules.timezone,
        dates=rules.dates,
        weekly=rules.weekly,
        holidays=rules.holidays,
        rrules=rules.rrules,
        ical=rules.ical,
    )
    await work_out(db, name, spans, updated_at=row["updated_at"])
    return bool(row["is_new"])


async def work_out(
    db: Runner,
    name: str,
    spans: Sequence[Span] | None,
    *,
    updated_at: datetime,
    error: str | None = None,
) -> None:
    """Write the times of a calendar, or why there are none, unless it was changed meanwhile."""
    times = None
    if spans is not None:
        times = ",".join(f"[{s.start.isoformat()},{s.end.isoformat()})" for s in spans)
        times = f"{{{times}}}"
    await db.fetch("calendars.work_out", name=name, times=times, error=error, updated_at=updated_at)


async def list_page(db: Database, after: str | None, limit: int) -> Page[Calendar]:
    """List calendars in the order of their names, from the first name after `after`."""
    found = await db.fetch_page("calendars.page", after=after, limit=limit)
    return Page(items=[calendar(row) for row in found.rows], more=found.more)


async def find(db: Runner, name: str) -> Calendar:
    """Find a calendar.

    Raises:
        CalendarNotFound: there is none of that name.
    """
    if "\0" not in name:
        for row in await db.fetch("calendars.find", name=name):
            return calendar(row)
    raise CalendarNotFound(no_calendar(name))


async def delete(db: Runner, name: str) -> None:
    """Delete a calendar.

    Raises:
        CalendarNotFound: there is none of that name.
        CalendarUsed: jobs, or windows of maintenance, use it.
    """
    try:
        deleted = "\0" not in name and await db.fetch("calendars.delete", name=name)
    except InvalidInput as refusal:
        message = f"the name {refusal.errors[0].message}"
        raise CalendarUsed(message) from None
    if not deleted:
        raise CalendarNotFound(no_calendar(name))


def no_calendar(name: str) -> str:
    return f"no calendar has the name {name!r}"


def calendar(row: Row) -> Calendar:
    """Read a calendar out of a row."""
    columns = dict(row)
    starts, ends = columns.pop("starts"), columns.pop("ends")
    times = [
        CalendarTime(start=start, end=end)
        for start, end in zip(starts or (), ends or (), strict=True)
    ]
    return Calendar(**columns, times=times)


async def read_closing(
    db: Runner, calendars: Sequence[str], *, at: datetime, until: datetime | None = None
) -> Closing:
    """Return how these calendars stand at an instant, and their time from then to `until`."""
    [row] = await db.fetch("calendars.closing", calendars=calendars, at=at, until=until or at)
    return Closing(
        problem=row["problem"],
        unready=row["unready"],
        closed_until=row["closed_until"],
        ends_at=row["ends_at"] or LATEST,
        open_times=spans(row["starts"], row["ends"]),
    )


async def open_spans(db: Runner, calendars: Sequence[str], *, since: datetime) -> list[Span] | None:
    """Return the open time of calendars from an instant on; None if it is not known.

    A calendar is gone, or has yet to be worked out.
    """
    [row] = await db.fetch("calendars.open_spans", calendars=calendars, since=since)
    if row["starts"] is None:
        return None
    return spans(row["starts"], row["ends"])


def spans(starts: Sequence[datetime] | None, ends: Sequence[datetime] | None) -> list[Span]:
    """Put spans together whose starts and ends a query answered apart; None: there are none."""
    return [Span(start, end) for start, end in zip(starts or (), ends or (), strict=True)]


async def list_to_work_out(db: Runner) -> list[Unworked]:
    """List up to ten calendars whose times have to be worked out."""
    return [
        Unworked(
            name=row["name"],
            updated_at=row["updated_at"],
            now=row["now"],
            rules=CalendarRules(**{name: row[name] for name in CalendarRules.__struct_fields__}),
        )
        for row in await db.fetch("calendars.to_work_out")
    ]


async def replan_step(db: Runner) -> ReplanStep:
    """Replan the next jobs that wait for times of a calendar which were changed."""
    [row] = await db.fetch("calendars.step", many=STEP_JOBS)
    return ReplanStep(**row)


async def find_closed_among(
    db: Runner, runs: Sequence[tuple[UUID, datetime]]
) -> dict[tuple[UUID, datetime], datetime]:
    """Return until when the calendars of their jobs close these runs; without those left open."""
    rows = await db.fetch(
        "calendars.closed_among", job_ids=[id for id, _ in runs], ats=[at for _, at in runs]
    )
    return {(row["job_id"], row["at"]): row["closed_until"] for row in rows}


async def find_closed_at(
    db: Runner, calendars: Sequence[str], instants: Sequence[datetime]
) -> dict[datetime, datetime]:
    """Return until when calendars are closed at these instants; without those at which not.

    Raises:
        InvalidInput: for `calendars`, one of which cannot be used.
    """
    rows = await db.fetch("calendars.closed_at", calendars=calendars, ats=instants)
    if rows and rows[0]["problem"] is not None:
        field, _, message = rows[0]["problem"].partition(": ")
        raise InvalidInput(FieldError(field=field, message=message))
    return {row["at"]: row["closed_until"] for row in rows if row["closed_until"] is not None}
