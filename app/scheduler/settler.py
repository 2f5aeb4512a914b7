"""Settles claims in batches: low latency when calm, one commit for many under load."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

import stamina
from msgspec.structs import replace

from app.core.facts import Faulted, LeaseLost, Settled
from app.core.runs.claim import Claim, Execution, Settlement
from app.db import Database, claims
from app.db.claims import Closed
from app.db.isolating import is_about_a_row, reason, run_by_halves
from app.errors import DatabaseUnavailable
from app.scheduler.isolation import SUPPRESSED, put_aside, unworkable
from app.scheduler.notify import Wakeup
from app.telemetry import Observers
from app.timers import Timers

BATCH = 500
"""The most settlements that are written in one commit."""
LOCKED_RETRY_SECONDS = 0.2
"""The wait after another transaction had the row of the job locked."""
REFUSED_RETRY_SECONDS = 1.0
"""The wait after Postgres refused a batch for a reason that is not in its rows."""

patiently = stamina.AsyncRetryingCaller(
    attempts=None, timeout=None, wait_initial=0.05, wait_max=1.0, wait_jitter=0.1
).on(DatabaseUnavailable)
"""Calls again for as long as the database is away."""


class Unsettled(NamedTuple):
    """A claim, how it is to be settled, and what is called once Postgres has taken that.

    `done` is called once, also when the claim turns out to be lost.
    """

    claim: Claim
    settlement: Settlement
    done: Callable[[], None]


Batch = list[Unsettled]


class Settler:
    """Gathers settlements while one batch is being written, then writes them as the next."""

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        db: Database,
        observers: Observers,
        *,
        wakeup: Wakeup,
        timers: Timers,
        ahead_seconds: float,
        stopping: asyncio.Event,
    ) -> None:
        self.db = db
        self.observers = observers
        self.wakeup = wakeup
        self.timers = timers
        self.ahead_seconds = ahead_seconds
        """How long before its instant a planned job is worth a look."""
        self.stopping = stopping
        """Once set, this instance looks no more: the others are told of what comes due."""
        self.waiting: Batch = []
        self.has_waiting = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Settler: {len(self.waiting)} settlements wait for the next batch>"

    def settle(self, claim: Claim, settlement: Settlement, done: Callable[[], None]) -> None:
        """Put a settlement into the next batch.

        The settlement stays there through an outage of the database, however long.
        """
        self.add(Unsettled(claim, settlement, done))

    def add(self, one: Unsettled) -> None:
        self.waiting.append(one)
        self.has_waiting.set()

    def add_later(self, batch: Batch, seconds: float) -> None:
        """Put settlements into a later batch."""
        at = self.timers.time() + seconds
        for one in batch:
            self.timers.call_at(at, partial(self.add, one))

    def close(self, one: Unsettled) -> None:
        """State what a settlement did, then be done with it."""
        self.observers.tell(settled_fact(one.claim, one.settlement))
        one.done()

    async def write_batches(self) -> None:
        """Write what is waiting, batch after batch, until cancelled."""
        while True:
            await self.has_waiting.wait()
            batch, self.waiting = self.waiting[:BATCH], self.waiting[BATCH:]
            if not self.waiting:
                self.has_waiting.clear()
            if batch:
                await self.write(batch)

    async def write(self, batch: Batch) -> None:
        """Write one batch; a settlement that Postgres refuses does not hold up its neighbours."""
        settlements = [one.settlement for one in batch]
        try:
            # Settling twice changes nothing, so an answer lost on the way back does no harm.
            closed = await patiently(claims.settle, self.db, settlements)
        except Exception as error:  # noqa: BLE001 - whatever it is, one settlement is at fault
            await self.isolate(batch, error)
        else:
            await self.finish(batch, {(one.job_id, one.fence): one for one in closed})

    async def finish(self, batch: Batch, closed: dict[tuple[UUID, int], Closed]) -> None:
        """Deal with each settlement by its result.

        Those written are reported as closed; those whose row is locked are tried again. Of those
        whose lease was lost the executions are recorded; jobs that a trigger keeps from being
        written are put aside.
        """
        settled: Batch = []
        locked: Batch = []
        late: Batch = []
        suppressed: Batch = []
        for one in batch:
            result = closed[one.settlement.job_id, one.settlement.fence]
            if result.settled:
                settled.append(one)
            elif result.suppressed:
                suppressed.append(one)
            elif result.held:
                locked.append(one)
            else:
                late.append(one)
        due = [one.wakeup_seconds for one in closed.values() if one.wakeup_seconds is not None]
        if late:
            due.append(0.0)  # when these jobs are due again is not known here: look
        self.add_later(locked, LOCKED_RETRY_SECONDS)
        await self.announce(due)  # first: a stopping instance ends with its last settlement
        for one in settled:
            self.close(one)
        if late:
            await self.keep_evidence(late)
        if suppressed:
            await self.give_up(suppressed, SUPPRESSED)

    async def announce(self, due: Sequence[float]) -> None:
        """See to it that what is due in so many seconds is looked at then, here or elsewhere."""
        if not due:
            return
        if not self.stopping.is_set():
            self.wakeup.wake_in(min(due) - self.ahead_seconds)
            return
        try:
            await claims.wake_instances(self.db)
        except DatabaseUnavailable as error:  # their own looks come late, but they come
            self.observers.tell(Faulted(where="wake", error=str(error)))

    async def isolate(self, batch: Batch, error: Exception) -> None:
        """Write a refused batch by halves, to find the settlement that Postgres refuses.

        That one is written without the texts of its target, then without the record of its
        execution, as what refuses may be on `tocsin.executions`. If it is refused even then, the
        job is put aside, and its execution is recorded. After an error that no row can be to blame
        for, the whole batch is tried again.
        """
        if not is_about_a_row(error):
            self.observers.tell(Faulted(where="settle", error=reason(error)))
            self.add_later(batch, REFUSED_RETRY_SECONDS)
            return
        if (middle := len(batch) // 2) > 0:
            await self.write(batch[:middle])
            await self.write(batch[middle:])
            return
        [one] = batch
        self.observers.tell(Faulted(where="settle", error=reason(error)))
        bare = without_texts(one.settlement)
        if bare != one.settlement:
            self.add(one._replace(settlement=bare))
            return
        if not await self.settle_unrecorded(one, error):
            await self.give_up(batch, error)

    async def settle_unrecorded(self, one: Unsettled, error: Exception) -> bool:
        """Settle without recording the executions; return whether Postgres took that.

        A job goes on although its history cannot be written, and the log says so.
        """
        if not one.settlement.executions:
            return False
        unrecorded = replace(one.settlement, executions=[])
        try:
            closed = await patiently(claims.settle, self.db, [unrecorded])
        except Exception:  # noqa: BLE001 - then it is the job that is refused
            return False
        [result] = closed
        if result.suppressed:
            return False
        if result.settled:
            self.observers.tell(Faulted(where="record", error=reason(error)))
        await self.finish([one], {(result.job_id, result.fence): result})
        return True

    async def give_up(self, batch: Batch, why: Exception | str) -> None:
        """Put the jobs aside that cannot be settled; keep on record what came of them."""
        jobs = [
            unworkable(one.claim.job_id, why, what="settled", fence=one.claim.fence)
            for one in batch
        ]
        try:
            await put_aside(self.db, self.observers, jobs, where="settle")
        except Exception as outage:  # noqa: BLE001 - their leases end, and a look meets them
            self.observers.tell(Faulted(where="settle", error=reason(outage)))
        await self.keep_evidence(batch)

    async def keep_evidence(self, late: Batch) -> None:
        """Record the results of executions whose lease was lost, then be done with them.

        Some of them were not lost, but settled by a statement whose answer got lost.
        """
        executions = {
            execution.id: execution
            for one in late
            for execution in one.settlement.executions
            if execution.id
        }

        def refused(_: Execution, error: Exception) -> None:
            self.observers.tell(Faulted(where="record_late", error=reason(error)))

        try:
            parts = await run_by_halves(
                lambda some: patiently(claims.record_late, self.db, some),
                list(executions.values()),
                refused=refused,
            )
            lost = set[int]().union(*parts)
        except Exception as error:  # noqa: BLE001 - evidence only; the lost row stands without
            self.observers.tell(Faulted(where="record_late", error=reason(error)))
            lost = set(executions)
        for execution_id in lost:
            job_id = executions[execution_id].job_id
            self.observers.tell(LeaseLost(job_id=job_id, execution_id=execution_id))
        for one in late:
            if lost.isdisjoint({execution.id for execution in one.settlement.executions}):
                self.close(one)
            else:
                one.done()


def without_texts(settlement: Settlement) -> Settlement:
    """Drop the texts that came from outside, should one of them be what Postgres refuses."""
    return replace(
        settlement,
        executions=[
            replace(execution, response=None, error="the answer could not be stored")
            for execution in settlement.executions
        ],
    )


def settled_fact(claim: Claim, settlement: Settlement) -> Settled:
    """State what the settlement did."""
    last = settlement.executions[-1] if settlement.executions else None
    started = last.started_at if last else None
    return Settled(
        job_id=claim.job_id,
        name=claim.name,
        kind=claim.kind,
        outcome=last.outcome if last else None,
        reason=last.reason if last else None,
        scheduled_for=claim.scheduled_for,
        attempt=claim.attempt,
        next_run=settlement.next_run,
        lag_seconds=(started - claim.next_run).total_seconds() if started else None,
        duration_seconds=(last.finished_at - started).total_seconds() if last and started else None,
        error=settlement.plan_error or (last.error if last else None),
    )
