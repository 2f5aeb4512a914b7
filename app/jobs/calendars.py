"""Checks that the calendars of jobs leave runs of their schedules."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from app.core.jobs.job import PlannedJob
from app.core.runs.claim import OnClosed
from app.core.schedule.occurrences import Span
from app.core.schedule.opening import check_open
from app.db import calendars
from app.db.database import Runner


async def check_calendars(db: Runner, jobs: Sequence[PlannedJob]) -> None:
    """Refuse jobs whose calendars close every run that is planned; those without cost nothing.

    What there is no calendar for, Postgres refuses.

    Raises:
        InvalidInput: for `calendars` of the first such job.
    """
    spans: dict[tuple[str, ...], Sequence[Span] | None] = {}
    for job in jobs:
        first: datetime | None = job.scheduled_for or job.next_run
        if not job.calendars or first is None or job.on_closed is OnClosed.NEXT_OPEN:
            continue
        if job.calendars not in spans:
            spans[job.calendars] = await calendars.open_spans(db, job.calendars, since=first)
        if (known := spans[job.calendars]) is not None:
            # In a thread, as there may be thousands of spans.
            await asyncio.to_thread(
                partial(check_open, job.schedule(), first, known, job_id=job.id)
            )
