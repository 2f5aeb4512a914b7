"""Settles claims apart: each in statements of its own, after a batch failed or was slow for it.

A batch is one statement for many claims, so one row that a trigger or a constraint refuses, or
takes long for, fails the statement for all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from uuid import UUID

from msgspec.structs import replace

from app.core.facts import Faulted, LeaseLost
from app.core.runs.claim import Execution, Settlement
from app.core.runs.outcome import CANCELLED, Outcome
from app.db import Database, claims, evidence
from app.db.claims import Closed
from app.db.connections import POOLS
from app.db.isolating import (
    is_by_others,
    may_be_about_a_row,
    parts_after,
    patiently,
    reason,
    run_by_parts,
)
from app.errors import DatabaseUnavailable, LockedByOthers, StatementCancelled
from app.scheduler.held_claim import Batch, Unsettled
from app.scheduler.isolation import SUPPRESSED, Isolation, put_aside, unworkable
from app.scheduler.watch import Apart, waits_count_as_slow
from app.telemetry import Observers
from app.timers import Timers

QUICK_SECONDS = 0.15
"""How long a statement that settles some claims may take; usually such a statement takes
milliseconds."""
PATIENT_SECONDS = 3.0
"""How long a statement that settles one claim may take, if the claim was too slow before."""
AGAIN_SECONDS = 1.0
"""The wait before another try, after a lock or an error that is not about the row."""
SLOW_SETTLEMENTS = 3
"""After so many tries that took too long in a user's function, a job is put aside; after twice as
many that took too long elsewhere."""
MAX_PATIENT = 30
"""The most claims that may be settled apart with `PATIENT_SECONDS` each. With more, each gets
`QUICK_SECONDS` only, and the dispatcher forgets a further claim at once, so that these claims do
not keep the instance from claiming others."""
MAX_UNDER_WAY = 1000
"""The most claims that are settled apart at once. Further ones are not settled: their claims are
forgotten at once, their jobs rest, and their leases run out."""


class ApartSettler:
    """Settles the claims of failed batches, and puts jobs aside that cannot be settled.

    A job for which a statement was refused or too slow is settled in statements of its own from
    then on (*apart*), until such a statement is quick again.
    """

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        isolation: Isolation,
        observers: Observers,
        *,
        quick: Database,
        patient: Database,
        timers: Timers,
        stopping: asyncio.Event,
        finish: Callable[[Sequence[Unsettled], Sequence[Closed]], Awaitable[None]],
        close: Callable[[Unsettled], None],
        retry: Callable[[Batch, float], None],
        start: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self.isolation = isolation
        self.observers = observers
        self.quick = quick
        """A pool that cancels statements after `QUICK_SECONDS`."""
        self.patient = patient
        """A pool that cancels statements after `PATIENT_SECONDS`."""
        self.timers = timers
        self.stopping = stopping
        """Set once this instance stops: then all statements are from the pool `quick`."""
        self.finish = finish
        """Deals with claims by the results of their settlements, see `Settler.finish`."""
        self.close = close
        """Tells that a claim was settled, and ends it."""
        self.retry = retry
        """Puts claims into a batch again, after so many seconds."""
        self.start = start
        """Runs a coroutine beside the batches."""
        self.apart = Apart()
        self.under_way = 0
        """How many settlements apart are waiting or under way."""
        self.turns = asyncio.Semaphore(POOLS["settle_quick"])
        self.patient_turns = asyncio.Semaphore(POOLS["settle_patient"])
        self.tries: dict[int, int] = {}
        """How often the settlement of each execution was too slow."""

    def __repr__(self) -> str:
        return f"<ApartSettler: {self.under_way} under way, {self.apart}>"

    def isolate(self, batch: Batch, error: Exception) -> None:
        """Begin to settle a batch in smaller statements, as `error` ended the one for all of it."""
        self.start(self.settle_by_parts(batch, error))

    async def settle_by_parts(self, batch: Batch, error: Exception) -> None:
        """Settle the claims of a batch in smaller statements; settle apart those that fail alone.

        After an error that no row can be to blame for, the remaining claims go into a batch again.
        """
        left = {key(one): one for one in batch}
        refused: list[tuple[Unsettled, Exception]] = []

        def refuse(one: Unsettled, error: Exception) -> None:
            refused.append((left.pop(key(one)), error))

        async def settle(some: Sequence[Unsettled]) -> None:
            with waits_count_as_slow():
                closed = await claims.settle(self.quick, [one.settlement for one in some])
            for one in some:
                del left[key(one)]
            await self.finish(some, closed)

        parts = parts_after(error, batch)
        try:
            await run_by_parts(settle, batch, refused=refuse, parts=parts, turns=self.turns)
        except Exception as failure:  # noqa: BLE001 - no job is to blame: all are tried again
            if len(batch) == 1 and isinstance(failure, StatementCancelled):
                refused = [(batch[0], failure)]
            else:
                self.observers.tell(Faulted(where="settle", error=reason(failure)))
                self.retry(list(left.values()), AGAIN_SECONDS)
        for one, why in refused:
            self.observers.tell(Faulted(where=f"settle job {one.claim.job_id}", error=reason(why)))
            self.settle_apart(one, why)

    def take(self, batch: Batch) -> Batch:
        """Begin to settle those claims of a batch that are settled apart; return the others."""
        usual: Batch = []
        for one in batch:
            if one.claim.id in self.apart:
                self.settle_apart(one)
            else:
                usual.append(one)
        return usual

    def settle_apart(self, one: Unsettled, error: Exception | None = None) -> None:
        """Begin to settle a claim apart; `error`: why a statement for this claim alone failed."""
        id = one.claim.id
        self.apart.add(id)
        if self.under_way >= MAX_UNDER_WAY:
            why = reason(error) if error else "its settlement failed before"
            self.isolation.rest({id: f"cannot be settled: {why}"})
            one.done()
            return
        if self.under_way >= MAX_PATIENT:
            one.done()
            one = replace(one, done=lambda: None)
        self.under_way += 1
        self.start(self.settle_one(one, error))

    async def settle_one(self, one: Unsettled, error: Exception | None) -> None:
        """Settle a claim or put its job aside; try again after an outage, a lock or a bug."""
        try:
            await self.try_forms(one, error)
            self.tries.pop(one.claim.execution_id, None)
        except Exception as failure:  # noqa: BLE001 - it is told, and tried again
            if not isinstance(failure, DatabaseUnavailable):
                where = f"settle job {one.claim.job_id}"
                self.observers.tell(Faulted(where=where, error=reason(failure)))
            at = self.timers.time() + AGAIN_SECONDS
            self.timers.call_at(at, partial(self.settle_apart, one))
        finally:
            self.under_way -= 1

    async def try_forms(self, one: Unsettled, error: Exception | None) -> None:
        """Settle a claim as it is, else without parts that may be refused; else put its job aside.

        The parts are, in this order, the texts that came from the target, and the execution as a
        whole, as a user's trigger may be on `tocsin.executions`. Without its execution a job goes
        on although the history cannot be written, and the log says so.

        Raises:
            DatabaseUnavailable: an outage, a lock, or a statement too slow to blame the job yet.
        """
        patient = self.under_way <= MAX_PATIENT and not self.stopping.is_set()
        for form in forms_of(one.settlement, error):
            if form.executions and isinstance(error, StatementCancelled) and form != one.settlement:
                continue  # texts take no time
            full = form == one.settlement and patient
            db, turns = (self.patient, self.patient_turns) if full else (self.quick, self.turns)
            try:
                async with turns:
                    began = self.timers.time()
                    with waits_count_as_slow():
                        at_last = self.quick if self.stopping.is_set() else db
                        closed = await claims.settle(at_last, [form])
            except Exception as failure:
                if not may_be_about_a_row(failure) or not self.may_blame(one, failure):
                    raise
                error = failure
                continue
            if form == one.settlement and self.timers.time() - began < QUICK_SECONDS / 2:
                self.apart.remove(one.claim.id)
            if form.executions:
                await self.finish([replace(one, settlement=form)], closed)
                return
            if one.settlement.executions and closed[0].suppressed:
                break
            if one.settlement.executions and closed[0].settled and error is not None:
                self.observers.tell(Faulted(where="record", error=reason(error)))
            await self.finish([one], closed)
            return
        await self.give_up([one], error or SUPPRESSED)

    def may_blame(self, one: Unsettled, error: Exception) -> bool:
        """Return whether the job is to blame for an error, rather than a lock or a slow database.

        A statement that took too long counts only from the `SLOW_SETTLEMENTS`-th time on in a
        user's function, or after twice as many elsewhere; one that waited for another's lock never
        counts; while the instance stops, the first counts.
        """
        if not isinstance(error, StatementCancelled):
            return True
        if isinstance(error.__cause__, LockedByOthers):
            return False
        if self.stopping.is_set():
            return True
        tries = self.tries.get(one.claim.execution_id, 0) + 1
        self.tries[one.claim.execution_id] = tries
        return tries >= SLOW_SETTLEMENTS * (1 if is_by_others(error) else 2)

    async def give_up(self, batch: Sequence[Unsettled], why: Exception | str) -> None:
        """Put jobs aside that cannot be settled, and record the results of their executions."""
        jobs = [
            unworkable(one.claim.id, why, what="settled", fence=one.claim.fence) for one in batch
        ]
        try:
            failed = await put_aside(self.quick, self.observers, jobs, where="settle")
            self.isolation.rest({job.job_id: job.problem for job in jobs if job.job_id in failed})
        except Exception as outage:  # noqa: BLE001 - their leases end, and a look meets them
            self.observers.tell(Faulted(where="settle", error=reason(outage)))
        await self.keep_evidence(batch)

    async def keep_evidence(self, late: Sequence[Unsettled]) -> None:
        """Record the results of executions whose lease was lost, then end their claims.

        Some of these claims were not lost but settled, by a statement whose answer was lost.
        """
        executions = {
            execution.id: execution
            for one in late
            for execution in one.settlement.executions
            if execution.id
        }
        lost: set[int] = set()

        def refused(_: Execution, error: Exception) -> None:
            self.observers.tell(Faulted(where="record_late", error=reason(error)))

        async def record(some: Sequence[Execution]) -> None:
            with waits_count_as_slow():
                lost.update(await patiently(evidence.record, self.quick, some))

        try:
            some = list(executions.values())
            await run_by_parts(record, some, refused=refused, blame=True, turns=self.turns)
        except Exception as error:  # noqa: BLE001 - evidence only; the lost row stands without
            self.observers.tell(Faulted(where="record_late", error=reason(error)))
            lost = set(executions)
        for execution_id in lost:
            job_id = executions[execution_id].job_id
            self.observers.tell(LeaseLost(job_id=job_id, execution_id=execution_id))
        cancelled = await self.free_cancelled(late)
        for one in late:
            if one.claim.execution_id in cancelled:
                self.close(replace(one, settlement=as_cancelled(one.settlement)))
            elif lost.isdisjoint({execution.id for execution in one.settlement.executions}):
                self.close(one)
            else:
                one.done()

    async def free_cancelled(self, late: Sequence[Unsettled]) -> set[int]:
        """Return the executions that were cancelled, and let what follows them begin."""
        claimed = [one.claim for one in late]
        instance = self.isolation.instance
        try:
            return await patiently(evidence.free_cancelled, self.quick, claimed, instance=instance)
        except Exception as error:  # noqa: BLE001 - the leases run out
            self.observers.tell(Faulted(where="release", error=reason(error)))
            return set()


def as_cancelled(settlement: Settlement) -> Settlement:
    """Return what became of an execution that a person cancelled, in place of its settlement."""
    executions = [
        replace(execution, outcome=Outcome.CANCELLED, reason=CANCELLED, error=None)
        for execution in settlement.executions
    ]
    return replace(settlement, next_run=None, executions=executions)


def key(one: Unsettled) -> tuple[UUID, int, int]:
    """Return a key that differs between two claims of the same job in one batch."""
    return one.claim.id, one.claim.fence, one.claim.execution_id


def forms_of(settlement: Settlement, error: Exception | None) -> list[Settlement]:
    """List the forms in which to try a settlement, each once.

    Without `error`, or if a statement took too long, the settlement as it is comes first.
    """
    bare, unrecorded = without_texts(settlement), replace(settlement, executions=[])
    as_it_is = error is None or isinstance(error, StatementCancelled)
    forms = [*([settlement] if as_it_is else []), bare, unrecorded]
    return [
        form
        for place, form in enumerate(forms)
        if form not in forms[:place] and (as_it_is or form != settlement)
    ]


def without_texts(settlement: Settlement) -> Settlement:
    """Return a settlement without the target's texts, as Postgres may refuse one of them."""
    return replace(
        settlement,
        executions=[
            replace(execution, response=None, error="the answer could not be stored")
            for execution in settlement.executions
        ],
    )
