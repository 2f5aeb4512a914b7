"""Repairs leases, flows and plans after the database's clock was set back (docs/adr/0051)."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

from app.core.facts import ClockSetBack
from app.core.schedule.schedule import first_run
from app.core.schedule.spread import PlannedRun, spread
from app.db import Database, clock_steps
from app.db.clock_steps import Plan
from app.db.walks import Move, walk
from app.scheduler.dispatcher import Dispatcher
from app.telemetry import Observers
from app.telemetry.faults import faulted

RETRY_SECONDS = 5.0
"""The pause after a failure."""
AGAIN_SECONDS = 1.0
"""How often those are counted that are held since a look in the future."""
FAR_SECONDS = 5.0
"""A claim whose instant is further away was taken before the clock was set back: no look takes one
so early."""


def let_go(dispatcher: Dispatcher, set_back: asyncio.Event) -> None:
    """Release claims that would wait for an instant which a clock set back has put far away.

    Sets `set_back`, see `mend_steps`.
    """
    for held in dispatcher:
        seconds = dispatcher.clock.seconds_until(held.claim.next_run.timestamp())
        if seconds > FAR_SECONDS and not held.started:
            dispatcher.recall(held.claim.id)
    set_back.set()


async def mend_steps(
    db: Database, observers: Observers, set_back: asyncio.Event, *, lease_seconds: float
) -> None:
    """Repair leases, flows and plans whenever `set_back` is set, until cancelled.

    They are also repaired once at the start, if the newest execution lies in the future, and again
    as what was claimed in the future is settled. Every instance does this: all compute the same
    repairs, and a plan that one has moved needs no other.
    """
    try:
        if await clock_steps.has_future(db):
            set_back.set()
    except Exception as error:  # noqa: BLE001 - jobs run without this
        observers.tell(faulted("steps", error))
    while True:
        await set_back.wait()
        set_back.clear()
        try:
            held = await clock_steps.count_held(db)
            observers.tell(ClockSetBack(jobs=await mend(db, lease_seconds=lease_seconds)))
            while held and not set_back.is_set():
                await asyncio.sleep(AGAIN_SECONDS)
                left = await clock_steps.count_held(db)
                if left < held and (moved := await mend(db, lease_seconds=lease_seconds)):
                    observers.tell(ClockSetBack(jobs=moved))
                held = left
        except Exception as error:  # noqa: BLE001 - see above
            observers.tell(faulted("steps", error))
            await asyncio.sleep(RETRY_SECONDS)
            set_back.set()


async def mend(db: Database, *, lease_seconds: float) -> int:
    """Repair what was written in the future; return how many plans were moved."""
    await clock_steps.shorten_leases(db, lease_seconds=lease_seconds)
    await clock_steps.release_flows(db)
    walked = walk(partial(clock_steps.read_step, db), move_of, partial(clock_steps.move, db))
    return sum([moved async for _, moved in walked])


def move_of(plan: Plan, now: datetime) -> Move | None:
    """Work out to where a plan moves; None if its nominal instant is not too late."""
    nominal = plan.scheduled_for or plan.next_run
    moved_to = planned_now(plan, nominal, now=now)
    if moved_to is None or moved_to.next_run >= plan.next_run or moved_to.scheduled_for > nominal:
        return None
    return Move(
        job_id=plan.job_id,
        next_run=plan.next_run,
        scheduled_for=plan.scheduled_for,
        moved_to=moved_to.next_run,
        moved_for=plan.scheduled_for if plan.retried else moved_to.scheduled_for,
    )


def planned_now(plan: Plan, nominal: datetime, *, now: datetime) -> PlannedRun | None:
    """Return the first run after `now`; of a retry, the end of its wait if that began at `now`."""
    if plan.retried:
        waits = plan.next_run - (plan.last_finished_at or plan.next_run)
        return PlannedRun(scheduled_for=nominal, next_run=now + max(waits, timedelta()))
    run = first_run(plan.schedule, job_id=plan.job_id, now=now)
    return None if run is None else spread(plan.schedule, run, job_id=plan.job_id)
