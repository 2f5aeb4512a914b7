"""Records, for `tocsin doctor`, how many jobs this instance leaves out of its looks."""

import asyncio

from app.db import Database, resting
from app.scheduler.isolation import Isolation
from app.scheduler.sweep import Sweep
from app.telemetry.faults import faulted

TELL_SECONDS = 5.0
"""The pause between two records, and before the first: most jobs rest for less."""
AGAIN_SECONDS = 60.0
"""How often an unchanged record is renewed; the doctor ignores records over three minutes old."""
MAX_PROBLEM_LENGTH = 1000
"""The most characters of a reason that are recorded."""


async def keep_resting_told(db: Database, isolation: Isolation, sweep: Sweep) -> None:
    """Record, while jobs rest, how many do, with one as an example, until cancelled.

    Once none rests any more, the record is deleted.
    """
    while True:
        await isolation.rested.wait()
        isolation.rested.clear()
        told = (0, "")
        told_at = float("-inf")
        while True:
            await asyncio.sleep(TELL_SECONDS)
            job_id, rest = next(iter(isolation.resting.items()), (None, None))
            if job_id is None or rest is None:
                break
            news = (len(isolation.resting) + sweep.left, rest.problem[:MAX_PROBLEM_LENGTH])
            if news != told or isolation.clock() - told_at >= AGAIN_SECONDS:
                told_at = isolation.clock()
                try:
                    await resting.record_resting(
                        db,
                        instance=isolation.instance,
                        jobs=news[0],
                        job_id=job_id,
                        problem=news[1],
                    )
                    told = news
                except Exception as error:  # noqa: BLE001 - jobs go on without this
                    isolation.observers.tell(faulted("resting", error))
        if told[0]:
            try:
                await resting.forget_resting(db, instance=isolation.instance)
            except Exception as error:  # noqa: BLE001 - the doctor believes it for minutes only
                isolation.observers.tell(faulted("resting", error))
