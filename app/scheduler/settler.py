"""Settles claims in batches: whatever came while one batch was written is the next batch.

So a lone settlement waits for nothing, and under load one commit serves many.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from app.core.facts import BatchSettled, Faulted, Settled
from app.core.runs.claim import Claim, Settlement
from app.db import Database, claims
from app.db.claims import Closed
from app.db.flows import keys_of
from app.db.isolating import may_be_about_a_row, patiently, reason
from app.errors import DatabaseUnavailable
from app.scheduler.apart_settler import ApartSettler
from app.scheduler.flows import Flows
from app.scheduler.held_claim import Batch, Unsettled
from app.scheduler.isolation import SUPPRESSED, Isolation
from app.scheduler.notify import Wakeup
from app.scheduler.watch import Watch
from app.telemetry import Observers
from app.timers import Timers

BATCH = 500
"""The most settlements that are written in one commit."""
LOCKED_RETRY_SECONDS = 0.2
"""The wait after another transaction had the row of the job locked."""
REFUSED_RETRY_SECONDS = 1.0
"""The wait after Postgres refused a batch for a reason that is not in its rows."""


class Settler:
    """Writes settlements in batches: those that come while one is written are the next.

    A job of which a settlement was refused or slow goes to `ApartSettler`, which has statements
    of its own for each.
    """

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        db: Database,
        observers: Observers,
        *,
        watch: Watch,
        isolation: Isolation,
        quick: Database,
        patient: Database,
        wakeup: Wakeup,
        flows: Flows,
        timers: Timers,
        ahead_seconds: float,
        stopping: asyncio.Event,
    ) -> None:
        self.db = db
        self.observers = observers
        self.watch = watch
        """Cancels statements of `db` that take too long."""
        self.apart_settler = ApartSettler(
            isolation,
            observers,
            quick=quick,
            patient=patient,
            timers=timers,
            stopping=stopping,
            finish=self.finish,
            close=self.close,
            retry=self.add_later,
            start=self.start,
        )
        self.tasks: asyncio.TaskGroup | None = None
        """What runs beside the batches; None before `write_batches`."""
        self.wakeup = wakeup
        self.flows = flows
        """Is told of the flows of settled claims, which have a permit more."""
        self.timers = timers
        self.ahead_seconds = ahead_seconds
        """How long before its instant a planned job may be claimed."""
        self.stopping = stopping
        """Set once this instance looks no more: other instances are then notified of due jobs."""
        self.waiting: Batch = []
        """The settlements that no batch has taken yet."""
        self.has_waiting = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Settler: {len(self.waiting)} settlements wait for the next batch>"

    def settle(self, claim: Claim, settlement: Settlement, done: Callable[[], None]) -> None:
        """Put a settlement into the next batch; for `done` see `Unsettled`.

        A settlement waits through an outage of the database, however long.
        """
        if claim.is_timed:
            self.flows.note_end(claim, settlement)
        self.add(Unsettled(claim, settlement, done))

    def add(self, one: Unsettled) -> None:
        """Put an unsettled claim into the next batch."""
        if not self.waiting:
            self.has_waiting.set()
        self.waiting.append(one)

    def add_later(self, batch: Batch, seconds: float) -> None:
        """Put settlements into a batch that is written in `seconds` or later."""
        at = self.timers.time() + seconds
        for one in batch:
            self.timers.call_at(at, partial(self.add, one))

    def close(self, one: Unsettled) -> None:
        """Tell what a settlement did, then call its `done`."""
        if self.observers.tells_successes or not one.settlement.is_success:
            self.observers.tell(Settled.of(one.claim, one.settlement))
        one.done()

    def start(self, task: Coroutine[None, None, None]) -> None:
        """Run a coroutine, which must not raise, beside the batches.

        Drop the coroutine if `write_batches` has not begun.
        """
        if self.tasks is None:
            task.close()
        else:
            self.tasks.create_task(task, name="settle apart")

    async def write_batches(self) -> None:
        """Write batch after batch, and wait while there is none, until cancelled."""
        async with asyncio.TaskGroup() as self.tasks:
            while True:
                await self.has_waiting.wait()
                batch, self.waiting = self.waiting[:BATCH], self.waiting[BATCH:]
                if not self.waiting:
                    self.has_waiting.clear()
                if self.apart_settler.apart:
                    batch = self.apart_settler.take(batch)
                if batch:
                    await self.write(batch)

    async def write(self, batch: Batch) -> None:
        """Write one batch, waiting through outages.

        If the statement fails for the content of a row, `ApartSettler` finds that row and
        settles the others; after any other error the batch is written again later.
        """
        settlements = [one.settlement for one in batch]
        try:
            # Settling twice changes nothing, so an answer lost on the way back does no harm.
            closed = await patiently(self.settle_watched, settlements)
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch is settled in parts or later
            if may_be_about_a_row(error):
                self.apart_settler.isolate(batch, error)
            else:
                self.observers.tell(Faulted(where="settle", error=reason(error)))
                self.add_later(batch, REFUSED_RETRY_SECONDS)
        else:
            await self.finish(batch, closed)

    async def settle_watched(self, settlements: Sequence[Settlement]) -> list[Closed]:
        """Settle claims in one statement, which is cancelled if it takes too long."""
        began_at = self.timers.time()
        with self.watch:
            closed = await claims.settle(self.db, settlements)
        self.observers.tell(
            BatchSettled(settlements=len(settlements), took_seconds=self.timers.time() - began_at)
        )
        return closed

    async def finish(self, batch: Sequence[Unsettled], closed: Sequence[Closed]) -> None:
        """Deal with each settlement of a batch by its result.

        A settlement that took effect is closed. If the row is locked, the settlement is tried
        again; if the lease was lost, the execution alone is recorded; if a trigger suppressed the
        write, the job is put aside.
        """
        settled: Batch = []
        locked: Batch = []
        late: Batch = []
        suppressed: Batch = []
        for one, result in zip(batch, closed, strict=True):
            if result.settled:
                settled.append(one)
            elif result.suppressed:
                suppressed.append(one)
            elif result.held:
                locked.append(one)
            else:
                late.append(one)
        due = [one.wakeup_seconds for one in closed if one.wakeup_seconds is not None]
        if late:
            due.append(0.0)  # when these jobs are due again is not known here: look
        self.add_later(locked, LOCKED_RETRY_SECONDS)
        if keys := keys_of([one.claim for one in (*settled, *late)]):
            self.flows.free(keys)
        await self.announce(due)  # first: a stopping instance ends with its last settlement
        for one in settled:
            self.close(one)
        if late:
            self.start(self.apart_settler.keep_evidence(late))
        if suppressed:
            self.start(self.apart_settler.give_up(suppressed, SUPPRESSED))

    async def announce(self, due: Sequence[float]) -> None:
        """Wake the poller in time for jobs that are due in so many seconds each.

        A stopping instance, which looks no more, wakes all other instances now instead.
        """
        if not due:
            return
        if not self.stopping.is_set():
            self.wakeup.wake_in(min(due) - self.ahead_seconds)
            return
        try:
            await claims.wake_instances(self.db)
            await self.flows.hand_over()
        except DatabaseUnavailable as error:  # their own looks come late, but they come
            self.observers.tell(Faulted(where="wake", error=str(error)))
