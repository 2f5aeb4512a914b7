"""The jobs that an instance leaves alone for the moment, as nothing can be done with them."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from msgspec import Struct

from app.core.facts import Faulted, PutAside
from app.db import Database, claims, plans, upkeep
from app.db.claims import Unworkable
from app.db.database import Runner
from app.db.isolating import is_about_a_row, reason, run_by_halves, run_by_parts
from app.db.plans import Unplanned
from app.telemetry import Observers
from app.timers import Monotonic

REMEDY = "correct the job, then set plan_error to null"
CHANGE_TRIGGER = "change the trigger, then set plan_error to null if the job has one"
SUPPRESSED = "a trigger on tocsin.jobs keeps the row from being written: tocsin doctor names it"
REST_SECONDS = 60.0
"""For how long looks leave a job out that can neither be claimed nor get a `plan_error`."""
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


class Isolation:
    """The jobs that one instance leaves out of its looks for the moment."""

    def __init__(
        self,
        db: Database,
        observers: Observers,
        *,
        instance: str,
        lease_seconds: float,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.observers = observers
        self.instance = instance
        self.lease_seconds = lease_seconds
        self.clock = clock
        self.suspects: set[UUID] = set()
        """Jobs at which a look may have failed, while they are claimed beside the loop."""
        self.resting: dict[UUID, Rest] = {}
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

        A lease that cannot be freed is left to run out.

        Raises:
            Exception: an error for which `is_about_a_row` is false.
        """
        release = partial(
            upkeep.release_orphans,
            db,
            instance=self.instance,
            executing=executing,
            lease_seconds=self.lease_seconds,
        )
        try:
            await release(aside=[] if only else [*self.suspects], only=only)
        except Exception as error:
            if not is_about_a_row(error):
                raise
            self.observers.tell(Faulted(where="release", error=reason(error)))
            ids = only or await upkeep.list_orphans(
                db,
                instance=self.instance,
                executing=executing,
                lease_seconds=self.lease_seconds,
                aside=[*self.suspects],
            )
            await run_by_halves(lambda half: release(only=half), ids, refused=lambda _, __: None)

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

    async def unplanned(self) -> list[Unplanned]:
        """Read the jobs that have yet to be planned; put those aside that cannot be read.

        Raises:
            Exception: what `is_about_a_row` denies.
        """
        aside = self.aside()
        try:
            return await plans.list_unplanned(self.db, aside=aside)
        except Exception as error:
            if not is_about_a_row(error):
                raise
            found: list[Unworkable] = []
            parts = await run_by_halves(
                lambda half: plans.list_unplanned(self.db, only=half),
                await plans.list_unplanned_ids(self.db, aside=aside),
                refused=lambda id, error: found.append(unworkable(id, error, what="planned")),
            )
            await self.put_aside(found)
            return [one for part in parts for one in part]
