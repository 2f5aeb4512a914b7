"""Works out calendars that were written in SQL, and replans the jobs that wait for their times.

A calendar that is changed concerns the runs that were put off to its next time, and the jobs that
were invalid for it. These are moved in steps, with rests: nobody waits for them.
"""

import asyncio
from functools import partial

from app.core.schedule.calendars import work_out
from app.db import Database, calendars, maintenance
from app.db.calendars import Unworked
from app.errors import InvalidInput
from app.scheduler.tasks import keep_up
from app.scheduler.windows import Windows
from app.telemetry import Observers

REST_SECONDS = 0.05
"""The pause between two steps."""


async def keep_calendars(db: Database, observers: Observers, windows: Windows) -> None:
    """Do what there is to do whenever `windows.told` is set; ends only when cancelled."""

    async def work() -> None:
        await work_out_all(db)
        await windows.read(db)
        await replan(db)
        await replan_maintained(db)

    await keep_up(work, windows.told, observers, where="calendars", wait=0.0)


async def work_out_all(db: Database) -> None:
    """Work out every calendar that needs it; what cannot be is said in its `error`."""
    while found := await calendars.list_to_work_out(db):
        for one in found:
            await work_out_one(db, one)


async def work_out_one(db: Database, one: Unworked) -> None:
    """Work out one calendar, in a thread, as rules and events may take seconds."""
    spans, error = None, None
    try:
        spans = await asyncio.to_thread(partial(work_out, one.rules, now=one.now))
    except InvalidInput as refusal:
        error = str(refusal)
    except Exception as bug:  # noqa: BLE001 - a bug; one calendar must not keep the others
        error = f"cannot be worked out: {type(bug).__name__}: {bug}"
    await calendars.work_out(db, one.name, spans, updated_at=one.updated_at, error=error)


async def replan(db: Database) -> int:
    """Replan the jobs that wait for times that were changed; return how many were moved."""
    moved = 0
    while True:
        step = await calendars.replan_step(db)
        if step.calendar is None:
            return moved
        moved += step.moved
        await asyncio.sleep(REST_SECONDS)


async def replan_maintained(db: Database) -> None:
    """Replan the jobs whose run a window put off that has changed since."""
    seen = maintenance.STEP_JOBS
    while seen == maintenance.STEP_JOBS:
        seen = await maintenance.replan(db)
        await asyncio.sleep(REST_SECONDS)
