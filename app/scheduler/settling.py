"""Settles claims in batches: low latency when calm, one commit for many under load."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import stamina
from msgspec.structs import replace

from app.core.claim import Settlement
from app.core.facts import Faulted, LeaseLost
from app.db import Database, claims
from app.db.claims import Closed
from app.errors import DatabaseUnavailable
from app.scheduler.doorbell import Doorbell
from app.telemetry import Observers

BATCH = 500
HELD_RETRY_SECONDS = 0.2

patiently = stamina.AsyncRetryingCaller(
    attempts=None, timeout=None, wait_initial=0.05, wait_max=1.0, wait_jitter=0.1
).on(DatabaseUnavailable)
"""Calls again for as long as the database is away."""


Batch = list[tuple[Settlement, asyncio.Future[None]]]


class Settler:
    """Gathers settlements while one batch is being written, then writes them as the next."""

    def __init__(self, db: Database, doorbell: Doorbell, observers: Observers) -> None:
        self.db = db
        self.doorbell = doorbell
        self.observers = observers
        self.waiting: Batch = []
        self.wanted = asyncio.Event()

    async def settle(self, settlement: Settlement) -> None:
        """Return when the claim is closed, or its late result kept as evidence.

        Waits through an outage of the database for as long as it takes.
        """
        future = asyncio.get_running_loop().create_future()
        self.submit(settlement, future)
        await future

    def submit(self, settlement: Settlement, future: asyncio.Future[None]) -> None:
        """Put a settlement into the next batch."""
        self.waiting.append((settlement, future))
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
            await self.finish(batch, {one.job_id: one for one in closed})

    async def finish(self, batch: Batch, closed: dict[UUID, Closed]) -> None:
        """Tell who waits; put off what is locked by others, keep what came too late."""
        loop = asyncio.get_running_loop()
        late = []
        for settlement, future in batch:
            result = closed[settlement.job_id]
            if result.held:
                loop.call_later(HELD_RETRY_SECONDS, self.submit, settlement, future)
                continue
            if not result.settled:
                late.append(settlement)
            if not future.cancelled():
                future.set_result(None)
        due = [one.wakeup_seconds for one in closed.values() if one.wakeup_seconds is not None]
        if due:
            self.doorbell.ring_in(min(due))
        if late:
            await self.keep_evidence(late)

    async def isolate(self, batch: Batch, error: Exception) -> None:
        """Write a refused batch one by one; one that is refused alone goes without its texts."""
        if len(batch) > 1:
            for one in batch:
                await self.write([one])
            return
        [(settlement, future)] = batch
        self.observers.tell(Faulted(where="settle", error=f"{type(error).__name__}: {error}"))
        bare = without_texts(settlement)
        if bare != settlement:
            self.submit(bare, future)
        elif not future.cancelled():
            future.set_result(None)  # a bug; its lease ends and it is recorded as lost

    async def keep_evidence(self, late: Sequence[Settlement]) -> None:
        """Record what came of executions whose lease was lost meanwhile."""
        executions = [execution for one in late for execution in one.executions if execution.id]
        for execution in executions:
            self.observers.tell(LeaseLost(job_id=execution.job_id, execution_id=execution.id or 0))
        try:
            await patiently(claims.record_late, self.db, executions)
        except Exception as error:  # noqa: BLE001 - evidence only; the lost row stands without
            problem = f"{type(error).__name__}: {error}"
            self.observers.tell(Faulted(where="record_late", error=problem))


def without_texts(settlement: Settlement) -> Settlement:
    """Drop the texts that came from outside, should one of them be what Postgres refuses."""
    return replace(
        settlement,
        executions=[
            replace(execution, response=None, error="the answer could not be stored")
            for execution in settlement.executions
        ],
    )
