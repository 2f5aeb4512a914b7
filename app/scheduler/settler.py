"""Settles claims in batches: low latency when calm, one commit for many under load."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import stamina
from msgspec.structs import replace

from app.core.facts import Faulted, LeaseLost
from app.core.runs.claim import Execution, Settlement
from app.db import Database, claims
from app.db.claims import Closed
from app.db.isolating import is_about_a_row, reason, run_by_halves
from app.errors import DatabaseUnavailable
from app.scheduler.doorbell import Doorbell
from app.scheduler.isolation import SUPPRESSED, put_aside, unworkable
from app.telemetry import Observers

BATCH = 500
HELD_RETRY_SECONDS = 0.2
REFUSED_RETRY_SECONDS = 1.0

patiently = stamina.AsyncRetryingCaller(
    attempts=None, timeout=None, wait_initial=0.05, wait_max=1.0, wait_jitter=0.1
).on(DatabaseUnavailable)
"""Calls again for as long as the database is away."""


class Done(Protocol):
    """Is called once, when a settlement is done with.

    `closed` is False if the claim turned out to be lost.
    """

    def __call__(self, *, closed: bool) -> None: ...


Batch = list[tuple[Settlement, Done]]


class Settler:
    """Gathers settlements while one batch is being written, then writes them as the next."""

    def __init__(
        self,
        db: Database,
        doorbell: Doorbell,
        observers: Observers,
        *,
        ahead_seconds: float,
        stopping: asyncio.Event,
    ) -> None:
        self.db = db
        self.ahead_seconds = ahead_seconds
        """How long before its instant a planned job is worth a look."""
        self.doorbell = doorbell
        self.observers = observers
        self.waiting: Batch = []
        self.wanted = asyncio.Event()
        self.loop = asyncio.get_running_loop()  # once: to ask for it costs a system call
        self.stopping = stopping
        """Once set, this instance looks no more: others are to hear of what comes due."""

    def settle(self, settlement: Settlement, done: Done) -> None:
        """Put a settlement into the next batch.

        It waits there through an outage of the database for as long as it takes.
        """
        self.waiting.append((settlement, done))
        self.wanted.set()

    async def write_batches(self) -> None:
        """Write what is waiting, batch after batch, until cancelled."""
        while True:
            await self.wanted.wait()
            batch, self.waiting = self.waiting[:BATCH], self.waiting[BATCH:]
            if not self.waiting:
                self.wanted.clear()
            if batch:
                await self.write(batch)

    async def write(self, batch: Batch) -> None:
        """Write one batch; a settlement that Postgres refuses does not hold up its neighbours."""
        settlements = [settlement for settlement, _ in batch]
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
        settled: list[Done] = []
        late: Batch = []
        suppressed: Batch = []
        for settlement, done in batch:
            result = closed[settlement.job_id, settlement.fence]
            if result.settled:
                settled.append(done)
            elif result.suppressed:
                suppressed.append((settlement, done))
            elif result.held:
                self.loop.call_later(HELD_RETRY_SECONDS, self.settle, settlement, done)
            else:
                late.append((settlement, done))
        due = [one.wakeup_seconds for one in closed.values() if one.wakeup_seconds is not None]
        if late:
            due.append(0.0)  # nobody told us when these jobs are due again: look
        await self.announce(due)  # first: a stopping instance ends with its last settlement
        for done in settled:
            done(closed=True)
        if late:
            await self.keep_evidence(late)
        if suppressed:
            await self.give_up(suppressed, SUPPRESSED)

    async def announce(self, due: Sequence[float]) -> None:
        """See to it that what is due in so many seconds is looked at then, here or elsewhere."""
        if not due:
            return
        if not self.stopping.is_set():
            self.doorbell.ring_in(min(due) - self.ahead_seconds)
            return
        try:
            await claims.wake_instances(self.db)
        except DatabaseUnavailable as error:  # their own looks come late, but they come
            self.observers.tell(Faulted(where="ring", error=str(error)))

    async def isolate(self, batch: Batch, error: Exception) -> None:
        """Write a refused batch by halves, to find the settlement that Postgres refuses.

        That one is written without the texts of its target. If it is refused even then, the job is
        put aside, and its execution is recorded. After an error that no row can be to blame for,
        the whole batch is tried again.
        """
        if not is_about_a_row(error):
            self.observers.tell(Faulted(where="settle", error=reason(error)))
            for settlement, done in batch:
                self.loop.call_later(REFUSED_RETRY_SECONDS, self.settle, settlement, done)
            return
        if (middle := len(batch) // 2) > 0:
            await self.write(batch[:middle])
            await self.write(batch[middle:])
            return
        [(settlement, done)] = batch
        self.observers.tell(Faulted(where="settle", error=reason(error)))
        bare = without_texts(settlement)
        if bare != settlement:
            self.settle(bare, done)
            return
        await self.give_up(batch, error)

    async def give_up(self, batch: Batch, why: Exception | str) -> None:
        """Put the jobs aside that cannot be settled; keep on record what came of them."""
        jobs = [
            unworkable(settlement.job_id, why, what="settled", fence=settlement.fence)
            for settlement, _ in batch
        ]
        try:
            await put_aside(self.db, self.observers, jobs, where="settle")
        except Exception as outage:  # noqa: BLE001 - their leases end, and a look meets them
            self.observers.tell(Faulted(where="settle", error=reason(outage)))
        await self.keep_evidence(batch)

    async def keep_evidence(self, late: Batch) -> None:
        """Record what came of executions whose lease was lost, and tell who waits.

        Not all of them were: some were settled by a statement whose answer got lost.
        """
        executions = {
            one.id: one for settlement, _ in late for one in settlement.executions if one.id
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
        for settlement, done in late:
            done(closed=lost.isdisjoint({one.id for one in settlement.executions}))


def without_texts(settlement: Settlement) -> Settlement:
    """Drop the texts that came from outside, should one of them be what Postgres refuses."""
    return replace(
        settlement,
        executions=[
            replace(execution, response=None, error="the answer could not be stored")
            for execution in settlement.executions
        ],
    )
