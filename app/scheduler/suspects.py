"""Claims, beside the loop of looks, suspects: jobs that may be why a look failed.

A look is one statement for many jobs, so one row that a trigger or a constraint refuses fails the
look for all. Suspects are claimed in statements of few jobs each. A job that cannot be claimed even
alone gets a `plan_error`; if not even `plan_error` can be written, looks leave the job out for a
while (the job *rests*), and its claim is tried again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from app.core.facts import Faulted, PutAside
from app.db import Database, claims, isolating
from app.db.claims import Look
from app.db.clock import DatabaseClock
from app.db.isolating import (
    MANY,
    Due,
    is_by_others,
    is_certain,
    may_have_succeeded,
    parts_after,
    reason,
    run_by_parts,
)
from app.errors import StatementCancelled
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.held_claim import HeldClaim
from app.scheduler.isolation import (
    SLOW_TRIES,
    SUPPRESSED,
    Isolation,
    rest_seconds,
    unworkable,
)
from app.scheduler.leases import Orphans, tell_lost
from app.telemetry import Observers

QUICK_SECONDS = 0.2
"""How long a statement that claims some jobs may take; usually such a statement takes
milliseconds."""
MAX_SECONDS = 3.0
"""How long a statement that claims one job may take, if the job was too slow before."""
QUICK_TRIES = 2
"""After so many claims that took longer than `QUICK_SECONDS`, a job gets `MAX_SECONDS`."""
STEP = 250
"""The most jobs that one statement claims."""


class Tried(Struct, kw_only=True):
    """What became of jobs that were to be claimed; locked ones are in none of the sets."""

    many: int = 0
    """How many jobs were to be claimed."""
    claimed: set[UUID] = field(default_factory=set)
    suppressed: set[UUID] = field(default_factory=set)
    """Jobs whose claim a trigger suppressed without an error."""
    failed: dict[UUID, Exception] = field(default_factory=dict)
    """Jobs whose claim failed even alone, with the error."""

    @property
    def bad(self) -> dict[UUID, str]:
        """The jobs that cannot be claimed, each with the reason."""
        failed = {job_id: reason(error) for job_id, error in self.failed.items()}
        return dict.fromkeys(self.suppressed, SUPPRESSED) | failed

    @property
    def all_are_bad(self) -> bool:
        """Whether none of many jobs can be claimed, and no row is surely to blame.

        A trigger that refuses every row is then more likely than so many faulty jobs.
        """
        return len(self.bad) == self.many >= MANY and not any(
            is_certain(error)
            for error in self.failed.values()
            if not isinstance(error, StatementCancelled)
        )


class Suspects:
    """Claims suspects in small statements, and puts those aside that cannot be claimed."""

    def __init__(  # noqa: PLR0913 - the parts of an instance
        self,
        isolation: Isolation,
        dispatcher: Dispatcher,
        orphans: Orphans,
        clock: DatabaseClock,
        observers: Observers,
        *,
        quick: Database,
        patient: Database,
        kinds: Sequence[str],
        tasks: asyncio.TaskGroup,
        look_again: Callable[[], None],
    ) -> None:
        self.isolation = isolation
        self.dispatcher = dispatcher
        self.orphans = orphans
        self.clock = clock
        self.observers = observers
        self.quick = quick
        """A pool that cancels statements after `QUICK_SECONDS`."""
        self.patient = patient
        """A pool that cancels statements after `MAX_SECONDS`."""
        self.kinds = kinds
        self.tasks = tasks
        self.look_again = look_again
        """Called when a look may find jobs that looks had to leave out."""
        self.slow: deque[Due] = deque()
        """Jobs that wait to be claimed from the pool `patient`, one by one."""
        self.trying: asyncio.Task[None] | None = None
        """Runs `try_patiently`."""
        self.monotonic = isolation.clock
        self.claiming = 0
        """How many statements that claim jobs are under way."""
        self.idle = asyncio.Event()
        """Set while `claiming` is 0."""
        self.idle.set()

    def __repr__(self) -> str:
        return (
            f"<Suspects: {self.claiming} claims under way, {len(self.slow)} to be tried with more "
            f"time, {self.isolation}>"
        )

    async def wait_until_idle(self) -> None:
        """Wait until no claim is under way; once the dispatcher is closed, none begins."""
        await self.idle.wait()

    async def isolate(
        self, found: Sequence[Due], *, ahead_seconds: float, error: Exception
    ) -> bool:
        """Claim the jobs of a look that failed with `error`, and put aside those that it fails for.

        Return whether some were put aside. Never raises: an error here is told, and a later look
        finds the jobs again.
        """
        try:
            tried = await self.claim(
                self.quick, found, ahead_seconds=ahead_seconds, parts=parts_after(error, found)
            )
            await self.set_aside(tried)
            return bool(tried.bad)
        except Exception as failure:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="isolate", error=reason(failure)))
            return False
        finally:
            self.isolation.acquit(one.job_id for one in found)
            self.look_again()

    async def isolate_suppressed(self, look: Look) -> None:
        """Put the jobs aside whose claim a trigger suppressed in a look.

        Never raises: an error here is told, and a later look finds the jobs again.
        """
        try:
            ids = set(look.suppressed)
            await self.set_aside(Tried(many=len(look.claims) + len(ids), suppressed=ids))
        except Exception as failure:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="isolate", error=reason(failure)))
        finally:
            self.isolation.acquit(look.suppressed)
            self.look_again()

    async def claim(
        self,
        db: Database,
        found: Sequence[Due],
        *,
        ahead_seconds: float = 0.0,
        parts: int = 1,
        blame: bool = False,
    ) -> Tried:
        """Claim jobs in `parts` statements, and in smaller ones where a statement fails.

        Raises:
            StatementCancelled: every statement takes too long, so Postgres may be slow and no job
                to blame. With `blame` the jobs count as failed instead.
        """
        tried = Tried(many=len(found))

        async def attempt(some: Sequence[Due]) -> None:
            wanted = [one.job_id for one in some]
            while wanted and not self.dispatcher.closed:
                try:
                    look = await self.look(
                        db, wanted, since=some[0].since, ahead_seconds=ahead_seconds
                    )
                except Exception as error:
                    if may_have_succeeded(error):
                        await self.orphans.free_found(self.isolation.db, only=wanted)
                    raise
                tried.claimed.update(claim.id for claim in look.claims)
                tried.suppressed.update(look.suppressed)
                if look.left_from is None or not look.claims:
                    return
                wanted = [one for one in wanted if one not in tried.claimed | tried.suppressed]

        def refused(one: Due, error: Exception) -> None:
            tried.failed[one.job_id] = error

        if found:
            await run_by_parts(attempt, found, refused=refused, parts=parts, blame=blame)
        return tried

    async def look(
        self, db: Database, ids: Sequence[UUID], *, since: datetime | None, ahead_seconds: float
    ) -> Look:
        """Claim these jobs in one statement, and give the claims to the dispatcher."""
        asked_at = self.monotonic()
        self.claiming += 1
        self.idle.clear()
        try:
            with self.orphans.claiming():
                look = await claims.look(
                    db,
                    limit=len(ids),
                    ahead_seconds=ahead_seconds,
                    lease_seconds=self.isolation.lease_seconds,
                    kinds=self.kinds,
                    instance=self.isolation.instance,
                    since=since,
                    believed=self.clock.believed(),
                    only=ids,
                )
            tell_lost(look, self.observers)
            lease_ends = asked_at + self.isolation.lease_seconds
            self.dispatcher.take(HeldClaim(claim, lease_ends=lease_ends) for claim in look.claims)
            return look
        finally:
            self.claiming -= 1
            if not self.claiming:
                self.idle.set()

    async def set_aside(self, tried: Tried, *, quiet: bool = False) -> int:
        """Give jobs that cannot be claimed a `plan_error`, or let them rest.

        Jobs rest that were only too slow, that `plan_error` cannot be written to, or that are all
        of many (`all_are_bad`). Return for how many there was no room to rest, see `MAX_RESTING`.
        `quiet`: jobs that get no `plan_error` are not told of.
        """
        bad = tried.bad
        if tried.all_are_bad:
            if not quiet:
                problem = f"nothing can be claimed: {next(iter(bad.values()))}"
                self.observers.tell(Faulted(where="look", error=problem))
            left = self.isolation.rest(bad)
        else:
            slow = {id for id, one in tried.failed.items() if isinstance(one, StatementCancelled)}
            jobs = [unworkable(id, bad[id], what="claimed") for id in bad.keys() - slow]
            left = await self.isolation.put_aside(jobs, db=self.quick, quiet=quiet)
            resting = self.isolation.resting
            for id in slow:
                times = resting[id].slow + 1 if id in resting else 1
                left += self.rest_slow({id: bad[id]}, slow=times)
        return left

    async def retry(self) -> None:
        """Claim the jobs whose rest is over; forget those that are not due any more."""
        resting, now = self.isolation.resting, self.monotonic()
        over = [job_id for job_id, one in resting.items() if one.until <= now]
        if not over:
            return
        found = await isolating.list_due_among(self.quick, over, kinds=self.kinds)
        for job_id in {*over} - {one.job_id for one in found}:
            del resting[job_id]
        for one in found:
            if resting[one.job_id].slow >= QUICK_TRIES:
                resting[one.job_id] = replace(resting[one.job_id], until=float("inf"))
                self.slow.append(one)
        if self.slow and (self.trying is None or self.trying.done()):
            self.trying = self.tasks.create_task(self.try_patiently(), name="try patiently")
        found = [one for one in found if resting[one.job_id].slow < QUICK_TRIES]
        for start in range(0, len(found), STEP):
            some = found[start : start + STEP]
            tried = await self.claim(self.quick, some, blame=True)
            await self.set_aside(tried)
            for job_id in {one.job_id for one in some} - tried.bad.keys():
                resting.pop(job_id, None)

    async def try_patiently(self) -> None:
        """Claim one by one, with `MAX_SECONDS` for each, the jobs that were too slow before.

        Never raises: after an error here the job rests and is tried again.
        """
        resting = self.isolation.resting
        while self.slow and not self.dispatcher.closed:
            one = self.slow.popleft()
            slow = resting[one.job_id].slow
            try:
                tried = await self.claim(self.patient, [one], blame=True)
                error = tried.failed.get(one.job_id)
                if one.job_id not in tried.bad:
                    del resting[one.job_id]
                elif not isinstance(error, StatementCancelled):
                    await self.set_aside(tried)
                elif is_by_others(error) and slow + 1 >= SLOW_TRIES:
                    jobs = [unworkable(one.job_id, error, what="claimed")]
                    await self.isolation.put_aside(jobs, db=self.patient)
                else:
                    self.rest_slow(tried.bad, slow=slow + 1)
                    self.observers.tell(
                        PutAside(
                            job_id=one.job_id,
                            where="claim",
                            written=False,
                            error=f"cannot be claimed: {tried.bad[one.job_id]}",
                        )
                    )
            except Exception as failure:  # noqa: BLE001 - see above
                self.observers.tell(Faulted(where="isolate", error=reason(failure)))
                self.rest_slow({one.job_id: reason(failure)}, slow=slow)

    def rest_slow(self, problems: Mapping[UUID, str], *, slow: int) -> int:
        """Let jobs rest whose claims were too slow for the `slow`-th time, from 1.

        `problems`: the jobs, each with the reason. Return for how many there was no room.
        """
        return self.isolation.rest(problems, seconds=rest_seconds(slow), slow=slow)
