"""Checks that the calendars of jobs leave runs of their schedules."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from msgspec.structs import replace

from app.core.field_paths import at_index
from app.core.jobs.job import PlannedJob, StoredJob
from app.core.runs.claim import OnClosed
from app.core.schedule.occurrences import Span
from app.core.schedule.opening import check_open
from app.db import calendars
from app.db.database import Runner
from app.errors import InvalidInput


def to_judge(job: PlannedJob, stored: StoredJob | None) -> PlannedJob | None:
    """Return a job as its calendars are to judge it; None: its edit changes nothing of that.

    `stored`: the job before the edit, of which it keeps the next run where it is not planned anew;
    None: the job is new.
    """
    if not job.calendars or stored is None or job.planned:
        return job if job.calendars else None
    if (job.calendars, job.on_closed) == (stored.calendars, stored.on_closed):
        return None
    return replace(job, next_run=stored.next_run, scheduled_for=stored.scheduled_for)


async def check_calendars(
    db: Runner, jobs: Sequence[PlannedJob], *, places: Sequence[int] | None = None
) -> None:
    """Refuse jobs whose calendars close every run that is planned; those without cost nothing.

    Postgres refuses names without a calendar. `places`: the places of the jobs in their batch.

    Raises:
        InvalidInput: for `calendars` of the first such job.
    """
    spans: dict[tuple[str, ...], Sequence[Span] | None] = {}
    for number, job in enumerate(jobs):
        first: datetime | None = job.scheduled_for or job.next_run
        if not job.calendars or first is None or job.on_closed is OnClosed.NEXT_OPEN:
            continue
        if job.calendars not in spans:
            spans[job.calendars] = await calendars.open_spans(db, job.calendars, since=first)
        if (known := spans[job.calendars]) is not None:
            # In a thread, as there may be thousands of spans.
            work = partial(check_open, job.schedule(), first, known, job_id=job.id)
            try:
                await asyncio.to_thread(work)
            except InvalidInput as refusal:
                if places is None:
                    raise
                errors = [at_index(places[number], one) for one in refusal.errors]
                raise InvalidInput(*errors) from None
