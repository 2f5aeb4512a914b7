"""Replans the jobs whose runs newer time zone rules put elsewhere."""

import asyncio
import random
from uuid import UUID

from app.core.facts import Replanned
from app.core.schedule.replan import replanned
from app.core.schedule.zone_rules import Rules
from app.core.schedule.zones import rules_in_use
from app.db import Database, zones
from app.db.zones import Move, Step
from app.telemetry import Observers
from app.telemetry.faults import faulted

INTERVAL_SECONDS = 3600.0
RETRY_SECONDS = 60.0
STEP_JOBS = 2000
STEP_REST_SECONDS = 0.05


async def keep_zones(db: Database, observers: Observers, *, instance: str) -> None:
    """Say at once, and then about every hour, what rules this instance goes by, until cancelled.

    Where they are the newest, the jobs are replanned that were planned by older ones.
    """
    while True:
        wait = INTERVAL_SECONDS
        try:
            moved = await replan(db, instance, rules_in_use())
        except Exception as error:  # noqa: BLE001 - jobs run without this, perhaps an hour off
            observers.tell(faulted("zones", error))
            wait = RETRY_SECONDS
        else:
            if moved:
                observers.tell(Replanned(jobs=moved, rules=str(rules_in_use())))
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - spread


async def replan(db: Database, instance: str, rules: Rules) -> int:
    """Move plans made by older rules, if these are the newest; return how many were moved.

    Rules that are older than some in the database move nothing, so of two instances that differ
    the newer wins.
    """
    standing = await zones.record_rules(db, instance=instance, rules=rules)
    if standing.newest is None or standing.newest < rules.version:
        await zones.store_zones(db, rules.version, await asyncio.to_thread(rules.archive))
    elif standing.newest > rules.version or not standing.unwalked:
        return 0
    mine, old = await zones.begin_walk(db, rules.version)
    if not mine:
        return 0
    moved, complete = (0, True) if old is None else await walk(db, old, rules)
    await zones.end_walk(db, rules.version, complete=complete)
    return moved


async def walk(db: Database, old: Rules, new: Rules) -> tuple[int, bool]:
    """Walk over all jobs; return how many were moved, and whether none was passed over."""
    moved, complete = 0, True
    step = await zones.read_step(db, after=UUID(int=0), many=STEP_JOBS)
    while step is not None:
        moves = await asyncio.to_thread(moves_of, step, old, new)
        written = await zones.move(db, moves) if moves else 0
        moved += written
        complete = complete and written == len(moves)
        await zones.continue_walk(db, new.version)
        await asyncio.sleep(STEP_REST_SECONDS)
        step = await zones.read_step(db, after=step.last_id, many=STEP_JOBS)
    return moved, complete


def moves_of(step: Step, old: Rules, new: Rules) -> list[Move]:
    """Work out which plans are elsewhere by the new rules."""
    found = []
    for plan in step.plans:
        try:
            moved_to = replanned(plan, now=step.now, old=old, new=new)
        except Exception:  # noqa: BLE001, S112 - a row that cannot be planned says so when it runs
            continue
        if moved_to is not None:
            found.append(Move(job_id=plan.job_id, next_run=plan.next_run, moved_to=moved_to))
    return found
