"""What a job comes to as it is typed: words, runs, what clocks do to them, what an edit changes."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.core.jobs.identity import NIL
from app.core.jobs.job import SCHEDULE_FIELDS, JobDocument, StoredJob, document_of
from app.core.runs.claim import Missed
from app.core.schedule.cron_parser import uses_hash
from app.core.schedule.schedule import (
    DstGap,
    DstOverlap,
    Schedule,
    count_runs,
    first_run,
    normalized,
    run_after,
)
from app.core.schedule.zones import changes
from app.db import Database, pages
from app.errors import InvalidInput
from app.jobs.input import PLAN_FIELDS, differ
from app.jobs.pauses import missed_runs
from app.jobs.preview import preview
from app.web.job_fields import LAX, Document
from app.wire.schedules import PreviewedSchedule, SchedulePreview

RUNS = 10
CROWD = 20
"""From how many other jobs on a minute is told to be crowded."""
WEEK = timedelta(days=7)
MAX_COUNTED = 100_000
YEAR = timedelta(days=366)
KEPT_NOTES = 1000
"""For how many schedules is kept what a change of clocks does to them."""
AROUND = timedelta(hours=4)
"""How far from a change of the clocks runs are looked at: no change is larger."""


class Changed(Struct, frozen=True, kw_only=True):
    """A field that an edit changes."""

    name: str
    before: str
    after: str


class Preview(Struct, frozen=True, kw_only=True):
    """What is shown beside a form while it is filled in."""

    at: datetime | None = None
    """When it was worked out; None: nothing could be."""
    schedule: PreviewedSchedule | None = None
    zone: str = "UTC"
    notes: list[str] = []
    """What clocks, calendars and other jobs do to the runs."""
    advice: str = ""
    changed: list[Changed] = []
    dropped: list[str] = []
    """What an edit drops of what was planned."""
    set_name: str | None = None
    """The set whose files have the job."""


async def preview_schedule(
    db: Database,
    document: JobDocument,
    *,
    stored: StoredJob | None,
    now: datetime,
) -> Preview:
    """Work out what to show of a schedule that was typed.

    Raises:
        InvalidInput: naming each field of the schedule that is wrong.
    """
    given = {name: getattr(document, name) for name in SCHEDULE_FIELDS}
    wanted = SchedulePreview(
        **given,
        calendars=document.calendars or (),
        count=RUNS,
        job_id=stored.id if stored else None,
    )
    shown = await preview(db, wanted, now=now)
    schedule = normalized(document.schedule())
    notes = await asyncio.to_thread(lambda: list(notes_on(schedule, shown, stored, now=now)))
    due = 0
    if stored is not None:
        due = (await missed_runs(db, stored, Missed.ALL, now=now)).missed_runs
    return Preview(
        at=now,
        schedule=shown,
        zone=schedule.timezone,
        notes=notes,
        advice=await advise_on(db, document, shown, stored),
        dropped=await asyncio.to_thread(dropped_by, schedule, document, stored, due, now),
    )


def notes_on(
    schedule: Schedule, shown: PreviewedSchedule, stored: StoredJob | None, *, now: datetime
) -> Iterator[str]:
    """Say which of the runs are none, or are not when one would think."""
    if schedule.run_at is not None and schedule.run_at < now:
        if stored is None or stored.run_at != schedule.run_at:
            yield "That instant has passed: its run is due as soon as it is saved."
    elif not shown.runs:
        yield "It has no run to come."
    if closed := sum(1 for one in shown.runs if one.closed_until):
        yield f"{closed} of these {'is' if closed == 1 else 'are'} closed by its calendars."
    yield from clock_notes(schedule, stored.id if stored else NIL, now=now)


def clock_notes(schedule: Schedule, id: UUID, *, now: datetime) -> Iterator[str]:
    """Say what the changes of clocks within a year do to the runs of a schedule."""
    if schedule.cron is None:
        return
    is_own = schedule.has_jitter or uses_hash(schedule.cron)
    for change in changes_ahead(schedule.timezone, now):
        yield from notes_on_change(schedule, id if is_own else NIL, change)


@lru_cache(maxsize=KEPT_NOTES)
def notes_on_change(schedule: Schedule, id: UUID, change: datetime) -> tuple[str, ...]:
    """Say what one change of clocks does to the runs of a cron; `id` stands for all with the same.

    To work it out takes some ten milliseconds.
    """
    other_gap = replace(schedule, dst_gap=other(DstGap, schedule.dst_gap))
    both = replace(schedule, dst_overlap=DstOverlap.BOTH)
    first = replace(schedule, dst_overlap=DstOverlap.FIRST)
    day = f"{change:%a %d %b %Y}"
    notes = []
    if runs_around(schedule, id, change) != runs_around(other_gap, id, change):
        does = {
            DstGap.RUN_AFTER: "a run that would be in it starts right after",
            DstGap.SKIP: "a run that would be in it is skipped",
        }[schedule.dst_gap]
        notes.append(f"On {day} clocks leave out an hour: {does} (dst_gap).")
    if runs_around(both, id, change) != runs_around(first, id, change):
        does = {
            DstOverlap.FIRST: "it runs in the first half only",
            DstOverlap.LAST: "it runs in the second half only",
            DstOverlap.BOTH: "it runs in both halves",
        }[schedule.dst_overlap]
        notes.append(f"On {day} clocks show an hour twice: {does} (dst_overlap).")
    return tuple(notes)


def other(type_: Any, one: Any) -> Any:  # noqa: ANN401 - an enumeration of two
    return next(each for each in type_ if each is not one)


def changes_ahead(timezone: str, now: datetime) -> list[datetime]:
    """List when clocks change within a year."""
    return [
        change.at
        for year in (now.year, now.year + 1)
        for change in changes(timezone, year)
        if now < change.at < now + YEAR
    ]


def runs_around(schedule: Schedule, id: Any, change: datetime) -> list[datetime]:  # noqa: ANN401
    """List runs within some hours of a change of the clocks, up to a hundred."""
    runs: list[datetime] = []
    run = first_run(schedule, job_id=id, now=change - AROUND)
    while run is not None and run < change + AROUND and len(runs) < 100:  # noqa: PLR2004
        runs.append(run)
        run = run_after(schedule, run, job_id=id)
    return runs


async def advise_on(
    db: Database, document: JobDocument, shown: PreviewedSchedule, stored: StoredJob | None
) -> str:
    """Advise to spread a job whose next minute many others have as well."""
    if not shown.runs or document.jitter_seconds or document.jitter_percent:
        return ""
    at = shown.runs[0].at.astimezone(UTC).replace(second=0, microsecond=0)
    others = await pages.count_in_minute(db, at=at, but=stored.id if stored else NIL)
    if others < CROWD:
        return ""
    many = f"{others:,}" if others < pages.MAX_COUNTED else f"more than {pages.MAX_COUNTED:,}"
    remedy = "jitter_seconds" if document.cron is None else "jitter_seconds, or H as its minute,"
    return f"{shown.runs[0].local:%H:%M} has {many} other jobs: {remedy} would spread it."


def dropped_by(
    schedule: Schedule, document: JobDocument, stored: StoredJob | None, due: int, now: datetime
) -> list[str]:
    """Say what an edit of the schedule drops: `due` runs, and how many come in a week."""
    if stored is None or not differ(document, document_of(stored), PLAN_FIELDS):
        return []
    told = []
    if due:
        told.append(
            f"{due:,} {'run' if due == 1 else 'runs'} that {'is' if due == 1 else 'are'} due and "
            f"{'has' if due == 1 else 'have'} not started {'is' if due == 1 else 'are'} dropped, "
            "as the plan begins anew."
        )
    try:
        before = runs_within(normalized(document_of(stored).schedule()), stored, now)
    except InvalidInput:
        return told
    after = runs_within(schedule, stored, now)
    told.append(f"In the coming seven days it runs {times(after)}, and not {times(before)}.")
    return told if before != after or due else []


def times(count: int) -> str:
    words = f"{count:,}" if count < MAX_COUNTED else f"more than {MAX_COUNTED:,}"
    return f"{words} time" if count == 1 else f"{words} times"


def runs_within(schedule: Schedule, stored: StoredJob, now: datetime) -> int:
    """Count the runs of the coming week."""
    first = first_run(schedule, job_id=stored.id, now=now)
    if first is None:
        return 0
    until = now + WEEK
    return count_runs(schedule, job_id=stored.id, first=first, until=until, limit=MAX_COUNTED)


def changed_between(before: Document, after: Document) -> list[Changed]:
    """List the fields in which two jobs differ; one that is left out has its default."""
    names = [*before, *(name for name in after if name not in before)]
    return [
        Changed(name=name, before=old, after=new)
        for name in names
        if (old := shown_value(before, name)) != (new := shown_value(after, name))
    ]


def shown_value(document: Document, name: str) -> str:
    """Write a value of a job out; empty for its default."""
    if name not in document:
        return ""
    value = LAX.decode(document[name])
    if isinstance(value, str) and bytes(document[name]).startswith(b'"'):
        return value
    return msgspec.json.format(bytes(document[name]), indent=2).decode()
