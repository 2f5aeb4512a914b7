"""Extends the leases of held claims; a lease that cannot be extended ends its execution."""

import asyncio
from contextlib import suppress
from functools import partial
from uuid import UUID

from app.core.facts import Faulted
from app.core.runs.claim import Claim
from app.db import Database, claims
from app.db.claims import Extended
from app.db.isolating import reason, run_by_halves
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.held_claim import Ending
from app.telemetry import Observers
from app.timers import Monotonic

RETRY_SECONDS = 1.0
"""The longest wait after a lease could not be extended."""
DOUBT_SECONDS = 0.1
"""The wait after a job was edited while it executes."""


async def extend_leases(
    db: Database,
    dispatcher: Dispatcher,
    observers: Observers,
    *,
    lease_seconds: float,
    clock: Monotonic,
) -> None:
    """Extend, until cancelled, every lease by the time a third of it has passed.

    Two thirds of the lease are left for further tries. If all of them fail, the `HeldClaim` cuts
    the execution off `MARGIN_SECONDS` before the lease ends, so that no other instance can have
    started the job by then. The lease of a job that was edited while it executes is extended
    after `DOUBT_SECONDS`, as the edit may have taken it away. Executions that exceed their timeout
    by `OVERTIME_SECONDS` are cut off here, too.
    """
    interval = lease_seconds / 3
    wait = interval / 2
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(dispatcher.doubts.wait(), wait)
            await asyncio.sleep(min(DOUBT_SECONDS, wait))  # many at once are asked about at once
        dispatcher.doubts.clear()
        wait = interval / 2
        asked_at = clock()
        for held in dispatcher:
            held.cut_overtime(asked_at)
        ageing = [
            held
            for held in dispatcher
            if held.doubted or held.lease_ends - asked_at < lease_seconds - interval / 2
        ]
        for held in ageing:
            held.doubted = False
        if not ageing:
            continue
        try:
            answers = await run_by_halves(
                partial(claims.extend, db, lease_seconds=lease_seconds),
                [held.claim for held in ageing],
                refused=lambda claim, error: observers.tell(refusal(claim, error)),
            )
        except Exception as error:  # noqa: BLE001 - leases end by themselves if it lasts
            observers.tell(Faulted(where="extend", error=reason(error)))
            answers = []
        told = Extended(
            extended=set[UUID]().union(*(one.extended for one in answers)),
            lost=set[UUID]().union(*(one.lost for one in answers)),
        )
        for held in ageing:
            if held.claim.job_id in told.extended:
                held.extend(lease_ends=asked_at + lease_seconds)
            elif held.claim.job_id in told.lost:
                held.cut(Ending.LEASE)
            else:  # another transaction has its row locked, or the database gave no answer
                held.doubted = True
                wait = min(RETRY_SECONDS, interval / 2)


def refusal(claim: Claim, error: Exception) -> Faulted:
    """State that a lease cannot be extended; the `HeldClaim` ends the execution before it ends."""
    return Faulted(where=f"extend the lease of job {claim.job_id}", error=reason(error))
