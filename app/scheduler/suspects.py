"""Claims, beside the loop, jobs at which a look failed or that it could not claim.

Those that cannot be claimed even alone get a `plan_error`; jobs for which not even that can be
written rest and are tried again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from app.core.facts import Faulted, PutAside, TakenOver
from app.db import Database, claims
from app.db.claims import Due, Look
from app.db.clock import DatabaseClock
from app.db.isolating import (
    MANY,
    is_by_others,
    is_certain,
    may_have_succeeded,
    parts_after,
    reason,
    run_by_parts,
)
from app.errors import StatementCancelled
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.held_claim import HeldClaim, execution_ids
from app.scheduler.isolation import REST_SECONDS, SUPPRESSED, Isolation, unworkable
from app.telemetry import Observers

QUICK_SECONDS = 0.2
"""How long the claim of some jobs may take; usually it takes milliseconds."""
LONGEST_SECONDS = 3.0
"""How long the claim of one job may take that was too slow before."""
SLOW_RESTS = (1.0, 5.0, 10.0)
"""Seconds that a job rests after its claim took too long: the first, second and third time."""
QUICK_TRIES = 2
"""How often a claim may be too slow until it is given `LONGEST_SECONDS`."""
SLOW_TRIES = 4
"""How often the claim may be too slow until the job gets a `plan_error`."""
STEP = 250
"""How many jobs a statement claims at most."""


class Tried(Struct, kw_only=True):
    """What became of jobs that were to be claimed."""

    many: int = 0
    claimed: set[UUID] = field(default_factory=set)
    suppressed: set[UUID] = field(default_factory=set)
    """Jobs whose claim a trigger suppressed."""
    failed: dict[UUID, Exception] = field(default_factory=dict)

    @property
    def bad(self) -> dict[UUID, str]:
        """Jobs that cannot be claimed, and why."""
        failed = {job_id: reason(error) for job_id, error in self.failed.items()}
        return dict.fromkeys(self.suppressed, SUPPRESSED) | failed

    @property
    def all_are_bad(self) -> bool:
        """Whether a trigger may be at fault, rather than each of many jobs."""
        return len(self.bad) == self.many >= MANY and not any(
            is_certain(error)
            for error in self.failed.values()
            if not isinstance(error, StatementCancelled)
        )


class Suspects:
    """Claims jobs by parts, to find those that cannot be claimed."""

    def __init__(  # noqa: PLR0913 - the parts of an instance
        self,
        isolation: Isolation,
        dispatcher: Dispatcher,
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
        self.clock = clock
        self.observers = observers
        self.quick = quick
        """A pool whose statements take `QUICK_SECONDS` at most."""
        self.patient = patient
        """A pool whose statements take `LONGEST_SECONDS` at most."""
        self.kinds = kinds
        self.tasks = tasks
        self.look_again = look_again
        """Called when a look may find jobs that looks left out."""
        self.slow: deque[Due] = deque()
        """Jobs whose claims are tried again with more time."""
        self.trying: asyncio.Task[None] | None = None
        self.monotonic = isolation.clock
        self.claiming = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def __repr__(self) -> str:
        return (
            f"<Suspects: {self.claiming} claims under way, {len(self.slow)} to be tried with more "
            f"time, {self.isolation}>"
        )

    async def wait_until_idle(self) -> None:
        """Wait until no claim is under way; with the dispatcher closed no other begins."""
        await self.idle.wait()

    async def isolate(
        self, found: Sequence[Due], *, ahead_seconds: float, error: Exception
    ) -> bool:
        """Claim those jobs of a failed look that can be claimed, and put the others aside.

        Return whether there are others. Never raises: what fails is told, and tried again.
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
            self.isolation.suspects.difference_update(one.job_id for one in found)
            self.look_again()

    async def isolate_suppressed(self, look: Look) -> None:
        """Put the jobs aside whose claim a trigger suppressed in a look.

        Never raises: what fails is told, and the jobs are looked for again.
        """
        try:
            ids = set(look.suppressed)
            await self.set_aside(Tried(many=len(look.claims) + len(ids), suppressed=ids))
        except Exception as failure:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="isolate", error=reason(failure)))
        finally:
            self.isolation.suspects.difference_update(look.suppressed)
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
        """Claim jobs, by parts where that fails.

        Raises:
            StatementCancelled: all of it takes too long, as if Postgres was slow; with `blame` the
                jobs count as failed.
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
                        await self.isolation.release_orphans(
                            self.isolation.db, executing=execution_ids(self.dispatcher), only=wanted
                        )
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
        """Claim these jobs and give the claims to the dispatcher."""
        asked_at = self.monotonic()
        self.claiming += 1
        self.idle.clear()
        try:
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
            self.take(look, asked_at=asked_at)
            return look
        finally:
            self.claiming -= 1
            if not self.claiming:
                self.idle.set()

    def take(self, look: Look, *, asked_at: float) -> None:
        """Give the dispatcher what a look claimed that was asked for at `asked_at` (monotonic)."""
        if look.record_error:
            self.observers.tell(Faulted(where="record", error=look.record_error))
        names = {claim.job_id: claim.name for claim in look.claims} if look.lost else {}
        for lost in look.lost:
            self.observers.tell(
                TakenOver(
                    job_id=lost.job_id,
                    name=names.get(lost.job_id),
                    execution_id=lost.id,
                    lost_by=lost.instance,
                )
            )
        lease_ends = asked_at + self.isolation.lease_seconds
        self.dispatcher.take(HeldClaim(claim, lease_ends=lease_ends) for claim in look.claims)

    async def set_aside(self, tried: Tried, *, quiet: bool = False) -> int:
        """Give a `plan_error` to what cannot be claimed, or let it rest.

        If none of many can be, a trigger may be at fault, and none gets one. Return for how many
        there is no room to rest. `quiet`: nothing is told of those that get no `plan_error`.
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
        """Try again what has rested for long enough; what is not due any more is forgotten."""
        resting, now = self.isolation.resting, self.monotonic()
        over = [job_id for job_id, one in resting.items() if one.until <= now]
        if not over:
            return
        found = await claims.list_due_among(self.quick, over, kinds=self.kinds)
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
        """Claim jobs one by one whose claims were too slow before.

        Never raises: what fails is told, and tried again.
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
        """Let jobs rest whose claims were too slow; return for how many there is no room."""
        seconds = (*SLOW_RESTS, REST_SECONDS)[min(slow, len(SLOW_RESTS) + 1) - 1]
        return self.isolation.rest(problems, seconds=seconds, slow=slow)
