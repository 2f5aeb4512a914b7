"""The jobs that an instance leaves alone for the moment, as nothing can be done with them."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from uuid import UUID

from msgspec import Struct

from app.core.facts import Faulted, PutAside
from app.db import Database, claims, upkeep
from app.db.claims import Unworkable
from app.db.database import Runner
from app.db.isolating import reason, run_by_parts
from app.db.upkeep import Orphan
from app.telemetry import Observers
from app.timers import Monotonic

REMEDY = "correct the job, then set plan_error to null"
CHANGE_TRIGGER = "change the trigger, then set plan_error to null if the job has one"
SUPPRESSED = "a trigger on tocsin.jobs keeps the row from being written: tocsin doctor names it"
REST_SECONDS = 60.0
"""For how long looks leave a job out that can neither be claimed nor get a `plan_error`."""
MAX_NAMED = 3
"""Of how many jobs a line of the log says each by itself."""
MAX_WAITING = 100
"""With so many resting, jobs that wait to be planned or checked rest no more."""
MAX_RESTING = 1000
"""How many jobs may rest, as each look is told which; looks begin behind any more."""


class Rest(Struct, frozen=True, kw_only=True):
    """Why a job is left alone, and how long."""

    until: float
    """Monotonic seconds at which it is tried again."""
    problem: str
    slow: int = 0
    """How often its claim took too long."""


async def put_aside(
    db: Runner,
    observers: Observers,
    jobs: Sequence[Unworkable],
    *,
    where: str,
    quiet: bool = False,
) -> set[UUID]:
    """Give jobs a `plan_error`, and tell; return those of which it cannot be written either.

    `quiet`: nothing is told of the latter.
    """
    failed: dict[UUID, str] = {}
    written: set[UUID] = set()

    def refused(job: Unworkable, error: Exception) -> None:
        failed[job.job_id] = f"{job.problem}; and plan_error cannot be set: {reason(error)}"

    async def write(some: Sequence[Unworkable]) -> None:
        written.update(await claims.put_aside(db, some))

    await run_by_parts(write, jobs, refused=refused, blame=True)
    for job in jobs:
        if job.job_id not in written and job.job_id not in failed:
            failed[job.job_id] = f"{job.problem}; and plan_error was not taken"
        problem = failed.get(job.job_id)
        if quiet and problem is not None:
            continue
        observers.tell(
            PutAside(
                job_id=job.job_id,
                where=where,
                written=problem is None,
                error=problem or job.problem,
            )
        )
    return set(failed)


def unworkable(
    job_id: UUID, error: Exception | str, *, what: str, fence: int | None = None
) -> Unworkable:
    """State that a job cannot be claimed, planned or settled, why, and what to do."""
    why = error if isinstance(error, str) else reason(error)
    remedy = CHANGE_TRIGGER if error == SUPPRESSED else REMEDY
    problem = f"cannot be {what}: {why}: {remedy}"
    return Unworkable(job_id=job_id, fence=fence, problem=problem)


def named(problems: Mapping[UUID, str]) -> str:
    """Name the first few jobs with their problems, and how many more there are."""
    some = [f"job {job_id}: {why}" for job_id, why in islice(problems.items(), MAX_NAMED)]
    more = len(problems) - len(some)
    return "; ".join(some) + (f"; and {more} more" if more else "")


class Isolation:
    """The jobs that one instance leaves out of its looks for the moment."""

    def __init__(  # noqa: PLR0913 - the parts of an instance
        self,
        db: Database,
        observers: Observers,
        *,
        quick: Database,
        instance: str,
        lease_seconds: float,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.quick = quick
        """A pool whose statements take a fifth of a second at most."""
        self.observers = observers
        self.instance = instance
        self.lease_seconds = lease_seconds
        self.clock = clock
        self.suspects: set[UUID] = set()
        """Jobs at which a look may have failed, while they are claimed beside the loop."""
        self.resting: dict[UUID, Rest] = {}
        self.orphans: list[Orphan] = []
        """The leases that are to be freed."""
        self.has_orphans = asyncio.Event()
        self.news = asyncio.Event()
        """Set when some begin to rest, for the sweep."""
        self.rested = asyncio.Event()
        """Set when some begin to rest, for the doctor."""

    def __repr__(self) -> str:
        return f"<Isolation: {len(self.suspects)} suspects, {len(self.resting)} resting>"

    def aside(self) -> list[UUID]:
        """Return the jobs that looks are to leave alone."""
        return [*self.suspects, *self.resting] if self.suspects or self.resting else []

    async def release_orphans(
        self, db: Runner, *, executing: Sequence[int], only: Sequence[UUID] | None = None
    ) -> None:
        """Free the leases that this instance has without `executing` them.

        Raises:
            Exception: an error for which `may_be_about_a_row` is false.
        """
        await self.release(await self.list_orphans(db, executing=executing, only=only))

    async def release_orphans_later(self, db: Runner, *, executing: Sequence[int]) -> None:
        """Have `keep_releasing` free the leases that this instance has without `executing` them.

        Raises:
            Exception: the orphans cannot be listed.
        """
        self.orphans += await self.list_orphans(db, executing=executing)
        if self.orphans:
            self.has_orphans.set()

    async def list_orphans(
        self, db: Runner, *, executing: Sequence[int], only: Sequence[UUID] | None = None
    ) -> list[Orphan]:
        return await upkeep.list_orphans(
            db,
            instance=self.instance,
            executing=executing,
            lease_seconds=self.lease_seconds,
            aside=[] if only else [*self.suspects],
            only=only,
        )

    async def release(self, orphans: Sequence[Orphan]) -> None:
        """Free leases; those that cannot be freed are told, and left to run out.

        Raises:
            Exception: an error for which `may_be_about_a_row` is false.
        """
        kept: dict[UUID, str] = {}

        async def release(some: Sequence[Orphan]) -> None:
            await upkeep.release_orphans(self.quick, some, instance=self.instance)

        def refused(orphan: Orphan, error: Exception) -> None:
            kept[orphan.job_id] = reason(error)

        await run_by_parts(release, orphans, refused=refused, blame=True)
        if kept:
            told = f"{named(kept)}: the lease cannot be freed and is left to run out"
            self.observers.tell(Faulted(where="release", error=told))

    async def keep_releasing(self) -> None:
        """Free leases as their orphans are found, until cancelled."""
        while True:
            await self.has_orphans.wait()
            self.has_orphans.clear()
            orphans, self.orphans = self.orphans, []
            try:
                await self.release(orphans)
            except Exception as error:  # noqa: BLE001 - found again when a session is opened
                self.observers.tell(Faulted(where="release", error=reason(error)))

    async def put_aside(
        self, jobs: Sequence[Unworkable], *, db: Runner | None = None, quiet: bool = False
    ) -> int:
        """Give jobs a `plan_error`; let those rest that do not take it.

        Return how many can do neither. `db`: the pool to write with, by default the usual one.
        """
        failed = await put_aside(db or self.db, self.observers, jobs, where="claim", quiet=quiet)
        for job in jobs:
            if job.job_id not in failed:
                self.resting.pop(job.job_id, None)
        return self.rest({job.job_id: job.problem for job in jobs if job.job_id in failed})

    async def put_aside_waiting(
        self, jobs: Sequence[Unworkable], *, db: Database, where: str
    ) -> set[UUID]:
        """Give a `plan_error` to jobs that wait for something else than a claim.

        Return those that do not take it. The first of these are told one by one and rest, so that
        the doctor knows; looks need not leave them out, so that any more take no room here and are
        told by the backlog, together.
        """
        crowd = len(self.resting) >= MAX_WAITING
        failed = await put_aside(db, self.observers, jobs, where=where, quiet=crowd)
        for job in jobs:
            if job.job_id not in failed:
                self.resting.pop(job.job_id, None)
        problems = {job.job_id: job.problem for job in jobs if job.job_id in failed}
        room = max(MAX_WAITING - len(self.resting), 0)
        self.rest(dict(islice(problems.items(), room)))
        return failed

    def rest(
        self, problems: Mapping[UUID, str], *, seconds: float | None = None, slow: int = 0
    ) -> int:
        """Leave jobs alone, by default for `REST_SECONDS`; return for how many there is no room."""
        seconds = REST_SECONDS if seconds is None else seconds
        until = self.clock() + seconds
        left = 0
        for job_id, problem in problems.items():
            if job_id in self.resting or len(self.resting) < MAX_RESTING:
                self.resting[job_id] = Rest(until=until, problem=problem, slow=slow)
            else:
                left += 1
        if problems:
            self.news.set()
            self.rested.set()
        return left
