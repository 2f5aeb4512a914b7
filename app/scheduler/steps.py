"""Repairs leases and plans after the database's clock was set back (docs/adr/0051)."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from app.core.facts import ClockSetBack
from app.core.schedule.schedule import first_run
from app.db import Database, steps
from app.db.steps import Move, Plan, Step
from app.telemetry import Observers
from app.telemetry.faults import faulted

STEP_JOBS = 2000
STEP_REST_SECONDS = 0.05
RETRY_SECONDS = 5.0


async def mend_steps(
    db: Database, observers: Observers, set_back: asyncio.Event, *, lease_seconds: float
) -> None:
    """Repair leases and plans whenever `set_back` is set, until cancelled.

    Also once at the start, if the newest execution lies in the future. Every instance does this:
    they compute the same repairs, and what one has written the others find repaired.
    """
    try:
        if await steps.has_future(db):
            set_back.set()
    except Exception as error:  # noqa: BLE001 - jobs run without this
        observers.tell(faulted("steps", error))
    while True:
        await set_back.wait()
        set_back.clear()
        try:
            moved = await mend(db, lease_seconds=lease_seconds)
        except Exception as error:  # noqa: BLE001 - see above
            observers.tell(faulted("steps", error))
            await asyncio.sleep(RETRY_SECONDS)
            set_back.set()
        else:
            observers.tell(ClockSetBack(jobs=moved))


async def mend(db: Database, *, lease_seconds: float) -> int:
    """Shorten leases and move plans that were made in the future; return how many plans."""
    await steps.shorten_leases(db, lease_seconds=lease_seconds)
    moved = 0
    step = await steps.read_step(db, after=UUID(int=0), many=STEP_JOBS)
    while step is not None:
        moves = await asyncio.to_thread(moves_of, step)
        if moves:
            moved += await steps.move(db, moves)
        await asyncio.sleep(STEP_REST_SECONDS)
        step = await steps.read_step(db, after=step.last_id, many=STEP_JOBS)
    return moved


def moves_of(step: Step) -> list[Move]:
    """Work out where the plans belong."""
    found = []
    for plan in step.plans:
        try:
            moved_to = planned_now(plan, now=step.now)
        except Exception:  # noqa: BLE001, S112 - a row that cannot be planned says so when it runs
            continue
        if moved_to is not None and moved_to < plan.next_run:
            found.append(
                Move(
                    job_id=plan.job_id,
                    next_run=plan.next_run,
                    moved_to=moved_to,
                    same_run=plan.retried,
                )
            )
    return found


def planned_now(plan: Plan, *, now: datetime) -> datetime | None:
    """Return the first run after now, or for a retry the wait that it had, counted from now."""
    if plan.retried:
        waits = plan.next_run - (plan.last_finished_at or plan.next_run)
        return now + max(waits, timedelta())
    return first_run(plan.schedule, job_id=plan.job_id, now=now)
