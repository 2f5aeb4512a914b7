"""Replans the jobs whose runs newer time zone rules put elsewhere."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from app.core.facts import Replanned
from app.core.schedule.replan import Planned, replanned
from app.core.schedule.zone_rules import Rules
from app.core.schedule.zones import rules_in_use
from app.db import Database, zones
from app.db.walks import Move, walk
from app.scheduler.tasks import INTERVAL_SECONDS, RETRY_SECONDS, rest
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.telemetry.version import product_version


async def keep_zones(
    db: Database, observers: Observers, *, instance: str, slots: int, kinds: Sequence[str]
) -> None:
    """Record at once, and then about every hour, what this instance is and which rules it plans by.

    The record has its `slots` and the `kinds` of jobs that it runs. If its rules are the newest,
    jobs that were planned by older rules are replanned. Ends only when cancelled.
    """
    while True:
        wait = INTERVAL_SECONDS
        try:
            moved = await replan(db, instance, rules_in_use(), slots=slots, kinds=kinds)
        except Exception as error:  # noqa: BLE001 - jobs run without this, perhaps an hour off
            observers.tell(faulted("zones", error))
            wait = RETRY_SECONDS
        else:
            if moved:
                observers.tell(Replanned(jobs=moved, rules=str(rules_in_use())))
        await rest(wait)


async def replan(
    db: Database,
    instance: str,
    rules: Rules,
    *,
    slots: int | None = None,
    kinds: Sequence[str] = (),
) -> int:
    """Move plans made by older rules, if these are the newest; return how many were moved.

    Rules that are older than some in the database move nothing: of two instances with different
    rules, the one with the newer rules moves plans.
    """
    standing = await zones.record_rules(
        db,
        instance=instance,
        rules=rules,
        slots=slots,
        product=product_version(),
        kinds=kinds,
    )
    if standing.newest is None or standing.newest < rules.version:
        await zones.store_zones(db, rules.version, await asyncio.to_thread(rules.archive))
    elif standing.newest > rules.version or not standing.unwalked:
        return 0
    mine, old = await zones.begin_walk(db, rules.version)
    if not mine:
        return 0
    moved, complete = (0, True) if old is None else await walk_by(db, old, rules)
    await zones.end_walk(db, rules.version, complete=complete)
    return moved


async def walk_by(db: Database, old: Rules, new: Rules) -> tuple[int, bool]:
    """Walk over all jobs; return how many plans were moved, and whether all that had to were."""
    moved, complete = 0, True
    move = partial(move_of, old=old, new=new)
    async for wanted, written in walk(partial(zones.read_step, db), move, partial(zones.move, db)):
        moved += written
        complete = complete and written == wanted
        await zones.continue_walk(db, new.version)
    return moved, complete


def move_of(plan: Planned, now: datetime, *, old: Rules, new: Rules) -> Move | None:
    """Work out where a run moves by the new rules; None if its instant stays the same."""
    moved_to = replanned(plan, now=now, old=old, new=new)
    return Move.between(plan.job_id, plan.run, moved_to) if moved_to else None
