"""Keeps jobs that cannot be claimed, planned or settled from holding up all others.

Such a job gets a `plan_error`, which keeps the job out of all looks until a person corrects it. If
not even `plan_error` can be written, the looks of this instance leave the job out for a while.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from uuid import UUID

from msgspec import Struct

from app.core.facts import PutAside
from app.db import Database, isolating
from app.db.database import Runner
from app.db.isolating import Unworkable, reason, run_by_parts
from app.telemetry import Observers
from app.timers import Monotonic

REMEDY = "correct the job, then set plan_error to null"
CHANGE_TRIGGER = "change the trigger, then set plan_error to null if the job has one"
SUPPRESSED = "a trigger on tocsin.jobs keeps the row from being written: tocsin doctor names it"
REST_SECONDS = 60.0
"""How long a job rests, but for one that is only slow, see `SLOW_RESTS`."""
SLOW_RESTS = (1.0, 5.0, 10.0)
"""Seconds that a job rests after a statement for it took too long: the first three times."""
SLOW_TRIES = 4
"""After so many statements that took too long in a user's function, a job gets a `plan_error`. If
none was running, Postgres may be slow, and the job is tried for ever."""
MAX_NAMED = 3
"""How many jobs one line of the log names; of the others it has the number."""
MAX_WAITING = 100
"""While so many jobs rest, a job that waits to be planned or checked is not added to them."""
MAX_RESTING = 1000
"""The most jobs that rest, as each look is sent their ids. Beyond that, looks begin at a later
instant instead, see `app.scheduler.sweep`."""


def rest_seconds(slow: int) -> float:
    """Return how long a job rests for which statements took too long `slow` times, from 1."""
    return (*SLOW_RESTS, REST_SECONDS)[min(slow, len(SLOW_RESTS) + 1) - 1]


class Rest(Struct, frozen=True, kw_only=True):
    """Why and until when looks leave a job out."""

    until: float
    """Monotonic seconds at which the claim is tried again."""
    problem: str
    """The reason, as the log and the doctor show it."""
    slow: int = 0
    """How often in a row the claim took too long."""


async def put_aside(
    db: Runner,
    observers: Observers,
    jobs: Sequence[Unworkable],
    *,
    where: str,
    quiet: bool = False,
) -> set[UUID]:
    """Give jobs a `plan_error`, and tell of each; return the jobs without one.

    `where` says in the log what could not be done. `quiet`: the returned jobs are not told of.
    """
    failed: dict[UUID, str] = {}
    written: set[UUID] = set()

    def refused(job: Unworkable, error: Exception) -> None:
        failed[job.job_id] = f"{job.problem}; and plan_error cannot be set: {reason(error)}"

    async def write(some: Sequence[Unworkable]) -> None:
        written.update(await isolating.put_aside(db, some))

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
    """Word the `plan_error` of a job: what cannot be done with the job, why, and the remedy.

    `what`: "claimed", "planned" or the like. `fence`: of the claim that is to end with it, if any.
    """
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
    """The jobs that one instance leaves out of its looks: suspects, and jobs that rest."""

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
        self.suspects = Counter[UUID]()
        """Jobs that are claimed apart, as they may be why a look failed or stand behind a crowd,
        each with the number of tasks that claim it: two may have found it at the same time."""
        self.resting: dict[UUID, Rest] = {}
        """The jobs that rest, each with why and until when: they can neither be claimed nor get a
        `plan_error`, their statements took too long, or they cannot be settled."""
        self.news = asyncio.Event()
        """Set when jobs begin to rest, for `Sweep`, which tries them again."""
        self.rested = asyncio.Event()
        """Set when jobs begin to rest, for `keep_resting_told`, which records them."""

    def __repr__(self) -> str:
        return f"<Isolation: {len(self.suspects)} suspects, {len(self.resting)} resting>"

    def suspect(self, ids: Iterable[UUID]) -> None:
        """Have looks leave jobs out that a task claims apart, until the task calls `acquit`."""
        self.suspects.update(ids)

    def acquit(self, ids: Iterable[UUID]) -> None:
        """End a `suspect` of the same jobs; one that another task claims is still left out."""
        self.suspects -= Counter(ids)

    def aside(self) -> list[UUID]:
        """Return the jobs that looks are to leave out: suspects, and jobs that rest."""
        return [*self.suspects, *self.resting] if self.suspects or self.resting else []

    async def put_aside(
        self, jobs: Sequence[Unworkable], *, db: Runner | None = None, quiet: bool = False
    ) -> int:
        """Give jobs a `plan_error`; let the jobs rest that it cannot be written to.

        Return for how many of these there was no room. `db`: the pool to write with, by default
        the usual one.
        """
        failed = await put_aside(db or self.db, self.observers, jobs, where="claim", quiet=quiet)
        for job in jobs:
            if job.job_id not in failed:
                self.resting.pop(job.job_id, None)
        return self.rest({job.job_id: job.problem for job in jobs if job.job_id in failed})

    async def put_aside_waiting(
        self, jobs: Sequence[Unworkable], *, db: Database, where: str
    ) -> set[UUID]:
        """Give a `plan_error` to jobs that wait to be planned or checked.

        Return the jobs that it cannot be written to. The first of these, up to `MAX_WAITING`, are
        told of one by one and rest, so that the doctor knows of them. The others take no room here,
        as looks need not leave such jobs out; the caller tells how many they are.
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
        """Leave jobs out of looks, by default for `REST_SECONDS`.

        `problems`: the jobs, each with the reason. Return for how many there was no room.
        """
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
