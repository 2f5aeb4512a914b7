"""Extends the leases of held claims, and frees leases of this instance that no held claim has.

An execution whose lease cannot be extended is cut off before the lease ends.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

from app.core.facts import Faulted, LeasesExtended, TakenOver
from app.db import Database, leases
from app.db.claims import Look
from app.db.database import Runner
from app.db.isolating import may_be_about_a_row, parts_after, reason, run_by_parts
from app.db.leases import Orphan
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.endings import Ending
from app.scheduler.held_claim import HeldClaim, execution_ids
from app.scheduler.isolation import Isolation, named
from app.scheduler.watch import Apart, Watch, waits_count_as_slow
from app.telemetry import Observers
from app.timers import Monotonic

RETRY_SECONDS = 1.0
"""The longest wait before another try, after a lease could not be extended."""
DOUBT_SECONDS = 0.1
"""The wait after the edit of a job under way, so that the edits of many jobs share a statement."""
QUICK_SECONDS = 0.15
"""How long a statement may take that extends some leases, after one for all of them failed."""
PATIENT_SECONDS = 1.5
"""How long a statement may take that extends the lease of one job, which was too slow before."""
OTHERS_SECONDS = 1.0
"""How long what waits for an orphan to be freed waits for other statements that claim."""


class Leases:
    """Extends the leases of one instance, usually all in one statement.

    After an extension that was refused or took too long, the job's lease is extended in statements
    of its own, beside the others (*apart*), until such a statement is quick again.
    """

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        db: Database,
        dispatcher: Dispatcher,
        observers: Observers,
        *,
        watch: Watch,
        quick: Database,
        patient: Database,
        lease_seconds: float,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.dispatcher = dispatcher
        self.observers = observers
        self.watch = watch
        """Cancels statements of `db` that take too long."""
        self.quick = quick
        """A pool that cancels statements after `QUICK_SECONDS`."""
        self.patient = patient
        """A pool that cancels statements after `PATIENT_SECONDS`."""
        self.lease_seconds = lease_seconds
        self.clock = clock
        self.apart = Apart()
        """The jobs whose leases are extended apart."""
        self.trying: set[HeldClaim] = set()
        """The claims whose leases are being extended apart, or wait for another such try."""

    def __repr__(self) -> str:
        return f"<Leases of {self.lease_seconds} s: {len(self.trying)} tried apart, {self.apart}>"

    async def keep_extending(self) -> None:
        """Extend, until cancelled, every lease by the time a third of it has passed.

        Two thirds of the lease are left for further tries. If all of them fail, the `HeldClaim`
        cuts the execution off `MARGIN_SECONDS` before the lease ends, so that no other instance
        can have started the job by then. The lease of a job that was edited while it executes is
        extended after `DOUBT_SECONDS`, as the edit may have taken it away. Executions that exceed
        their timeout by `OVERTIME_SECONDS` are cut off here, too, every sixth of a lease.
        """
        interval = self.lease_seconds / 3
        wait = interval / 2
        async with asyncio.TaskGroup() as tasks:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.dispatcher.doubts.wait(), wait)
                    # Many at once are asked about at once.
                    await asyncio.sleep(min(DOUBT_SECONDS, wait))
                self.dispatcher.doubts.clear()
                wait = interval / 2
                now = self.clock()
                for held in self.dispatcher:
                    held.cut_overtime(now)
                ageing = [
                    held
                    for held in self.dispatcher
                    if (held.doubted or held.lease_ends - now < self.lease_seconds - interval / 2)
                    and held not in self.trying
                ]
                for held in ageing:
                    held.doubted = False
                if not await self.extend_all(ageing, tasks):
                    wait = min(RETRY_SECONDS, interval / 2)

    async def extend_all(self, ageing: Sequence[HeldClaim], tasks: asyncio.TaskGroup) -> bool:
        """Extend leases in one statement, and in `tasks` the leases that are extended apart.

        Return whether that statement told of each of its leases, or another try has begun in
        `tasks`; False calls for another try soon.
        """
        usual = [held for held in ageing if held.claim.id not in self.apart]
        for held in ageing:
            if held.claim.id in self.apart:
                tasks.create_task(
                    self.run_beside([held], self.extend_patiently(held)), name="extend apart"
                )
        if not usual:
            return True
        try:
            with self.watch:
                return await self.extend(self.db, usual)
        except Exception as error:  # noqa: BLE001 - leases end by themselves if it lasts
            if may_be_about_a_row(error):
                tasks.create_task(
                    self.run_beside(usual, self.extend_by_parts(usual, error)), name="extend apart"
                )
                return True
            self.observers.tell(Faulted(where="extend", error=reason(error)))
            for held in usual:
                held.doubted = True
            return False

    async def extend(self, db: Database, some: Sequence[HeldClaim]) -> bool:
        """Extend leases in one statement, and cut off executions whose lease was lost.

        Return False if some lease is neither extended nor lost, as its row is locked.

        Raises:
            Exception: Postgres refused the statement, or gave no answer.
        """
        asked_at = self.clock()
        answer = await leases.extend(
            db, [held.claim for held in some], lease_seconds=self.lease_seconds
        )
        if answer.extended:
            self.observers.tell(LeasesExtended(leases=len(answer.extended)))
        answered = True
        for held in some:
            if held.claim.id in answer.extended:
                held.extend(lease_ends=asked_at + self.lease_seconds)
            elif held.claim.id in answer.lost:
                held.cut(Ending.LEASE)
            else:  # another transaction has its row locked
                held.doubted = True
                answered = False
        return answered

    async def run_beside(
        self, some: Sequence[HeldClaim], work: Coroutine[None, None, None]
    ) -> None:
        """Run `work`, which extends these leases apart; then have those tried again that remain."""
        self.trying.update(some)
        try:
            await work
        except Exception as error:  # noqa: BLE001 - leases end by themselves if it lasts
            self.observers.tell(Faulted(where="extend", error=reason(error)))
            for held in some:
                held.doubted = True
        if any(held.doubted for held in some):
            self.trying.difference_update(held for held in some if not held.doubted)
            await asyncio.sleep(min(RETRY_SECONDS, self.lease_seconds / 6))
            self.dispatcher.doubts.set()
        self.trying.difference_update(some)

    async def extend_by_parts(self, some: Sequence[HeldClaim], error: Exception) -> None:
        """Extend leases in smaller statements, as one for all of them failed with `error`.

        A job whose lease cannot be extended even so is extended apart from now on.

        Raises:
            Exception: an error that no row can be to blame for.
        """

        async def extend(part: Sequence[HeldClaim]) -> None:
            with waits_count_as_slow():
                await self.extend(self.quick, part)

        await run_by_parts(
            extend, some, refused=self.refuse, parts=parts_after(error, some), blame=len(some) == 1
        )

    async def extend_patiently(self, held: HeldClaim) -> None:
        """Extend the lease of one job apart; a quick success ends that for the job.

        Raises:
            Exception: an error that no row can be to blame for.
        """
        began = self.clock()
        try:
            with waits_count_as_slow():
                await self.extend(self.patient, [held])
        except Exception as error:
            if not may_be_about_a_row(error):
                raise
            self.refuse(held, error)
        else:
            if self.clock() - began < QUICK_SECONDS / 2:
                self.apart.remove(held.claim.id)

    def refuse(self, held: HeldClaim, error: Exception) -> None:
        """Tell that a lease cannot be extended, and extend it apart from now on.

        If no try succeeds, the `HeldClaim` cuts the execution off before the lease ends.
        """
        self.apart.add(held.claim.id)
        held.doubted = True
        job_id = held.claim.job_id
        self.observers.tell(Faulted(where=f"extend the lease of job {job_id}", error=reason(error)))


class Orphans:
    """Frees the leases in this instance's name of which it holds no claim.

    Such orphans stem from a look whose answer was lost. What another statement has claimed of which
    the answer is yet to be read looks the same: nothing is freed before such statements have ended.
    """

    def __init__(self, isolation: Isolation, dispatcher: Dispatcher, *, quick: Database) -> None:
        self.isolation = isolation
        self.dispatcher = dispatcher
        self.quick = quick
        """A pool that cancels statements after 0.2 s (`suspects.QUICK_SECONDS`)."""
        self.found: list[Orphan] = []
        """Orphans whose leases are to be freed."""
        self.has_found = asyncio.Event()
        self.under_way: set[asyncio.Event] = set()
        """One for each statement under way that claims, set once it has ended."""

    def __repr__(self) -> str:
        return f"<Orphans: {len(self.found)} leases to be freed>"

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Within this context, that of a statement which claims, take none of its for orphans.

        The dispatcher takes the claims before anything else runs.
        """
        ended = asyncio.Event()
        self.under_way.add(ended)
        try:
            yield
        finally:
            self.under_way.remove(ended)
            ended.set()

    async def free_found(self, db: Runner, *, only: Sequence[UUID] | None = None) -> None:
        """Find orphans, and free their leases; `only`: the jobs to search, None for all.

        Where statements that claim go on for longer than `OTHERS_SECONDS`, `keep_freeing` does the
        latter.

        Raises:
            Exception: an error for which `may_be_about_a_row` is false.
        """
        orphans = await self.find(db, only=only)
        try:
            async with asyncio.timeout(OTHERS_SECONDS):
                await self.wait_for_claims()
        except TimeoutError:
            self.found += orphans
            self.has_found.set()
        else:
            await self.free(orphans)

    async def free_later(self, db: Runner) -> None:
        """Have `keep_freeing` free the leases that `free_found` would free at once.

        Raises:
            Exception: the orphans cannot be listed.
        """
        self.found += await self.find(db)
        if self.found:
            self.has_found.set()

    async def wait_for_claims(self) -> None:
        """Wait until the statements have ended that claim and are under way now."""
        for ended in tuple(self.under_way):
            await ended.wait()

    async def find(self, db: Runner, *, only: Sequence[UUID] | None = None) -> list[Orphan]:
        return await leases.list_orphans(
            db,
            instance=self.isolation.instance,
            executing=execution_ids(self.dispatcher),
            lease_seconds=self.isolation.lease_seconds,
            aside=[] if only else [*self.isolation.suspects],
            only=only,
        )

    async def free(self, orphans: Sequence[Orphan]) -> None:
        """Free leases but those that are held by now.

        A lease that cannot be freed is told of, and left to run out.

        Raises:
            Exception: an error for which `may_be_about_a_row` is false.
        """
        held = set(execution_ids(self.dispatcher))
        orphans = [one for one in orphans if one.execution_id not in held]
        kept: dict[UUID, str] = {}

        async def release(some: Sequence[Orphan]) -> None:
            await leases.free_orphans(self.quick, some, instance=self.isolation.instance)

        def refused(orphan: Orphan, error: Exception) -> None:
            kept[orphan.job_id] = reason(error)

        await run_by_parts(release, orphans, refused=refused, blame=True)
        if kept:
            told = f"{named(kept)}: the lease cannot be freed and is left to run out"
            self.isolation.observers.tell(Faulted(where="release", error=told))

    async def keep_freeing(self) -> None:
        """Free leases as their orphans are found, until cancelled."""
        while True:
            await self.has_found.wait()
            self.has_found.clear()
            orphans, self.found = self.found, []
            await self.wait_for_claims()
            try:
                await self.free(orphans)
            except Exception as error:  # noqa: BLE001 - found again when a session is opened
                self.isolation.observers.tell(Faulted(where="release", error=reason(error)))


def tell_lost(look: Look, observers: Observers) -> None:
    """Tell of the executions whose leases had ended before the look claimed their jobs anew."""
    if look.record_error:
        observers.tell(Faulted(where="record", error=look.record_error))
    names = {claim.job_id: claim.name for claim in look.claims} if look.lost else {}
    for lost in look.lost:
        observers.tell(
            TakenOver(
                job_id=lost.job_id,
                name=names.get(lost.job_id),
                execution_id=lost.id,
                lost_by=lost.instance,
            )
        )


def recall(dispatcher: Dispatcher, id: str) -> None:
    """Release the claim of a row that was edited or deleted, unless it has started."""
    with suppress(ValueError):  # anybody may notify
        dispatcher.recall(UUID(id))
