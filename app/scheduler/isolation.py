"""Finds the jobs at which a look fails and puts them aside, so that all others go on in time."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from uuid import UUID

from app.core.facts import Faulted, PutAside
from app.db import Database, claims, upkeep
from app.db.claims import Unplanned, Unworkable
from app.db.database import Runner
from app.db.isolating import is_about_a_row, is_certain, reason, run_by_halves
from app.telemetry import Observers
from app.timers import Monotonic

REMEDY = "correct the job, then set plan_error to null"
SUPPRESSED = "a trigger on tocsin.jobs keeps the row from being written: tocsin doctor names it"
REST_SECONDS = 60.0
"""For how long looks leave a job out that can neither be claimed nor get a `plan_error`."""
MANY = 10
"""If at least this many jobs cannot be claimed, and no other can, a trigger may be at fault: they
get no `plan_error`, and rest."""
MAX_RESTING = 1000
"""How many jobs may rest; with more, those resting the longest are looked for again."""


async def put_aside(
    db: Runner, observers: Observers, jobs: Sequence[Unworkable], *, where: str
) -> set[UUID]:
    """Give jobs a `plan_error`, and tell; return those of which it cannot be written either."""
    failed: dict[UUID, str] = {}

    def refused(job: Unworkable, error: Exception) -> None:
        failed[job.job_id] = f"{job.problem}; and plan_error cannot be set: {reason(error)}"

    parts = await run_by_halves(partial(claims.put_aside, db), jobs, refused=refused)
    written = set[UUID]().union(*parts)
    for job in jobs:
        if job.job_id not in written and job.job_id not in failed:
            failed[job.job_id] = f"{job.problem}; and plan_error was not taken"
        problem = failed.get(job.job_id)
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
    problem = f"cannot be {what}: {why}: {REMEDY}"
    return Unworkable(job_id=job_id, fence=fence, problem=problem)


class Isolation:
    """The jobs that one instance leaves out of its looks for the moment.

    Those at which a look may have failed are claimed beside the loop, by halves, while the loop
    looks past them. One that cannot be claimed even alone gets a `plan_error`.
    """

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
        self.resting: dict[UUID, float] = {}
        """Until when, monotonic seconds."""

    def aside(self) -> list[UUID]:
        """Return the jobs that looks are to leave alone."""
        if self.resting:
            now = self.clock()
            self.resting = {id: until for id, until in self.resting.items() if until > now}
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

    async def claim(
        self,
        ids: Sequence[UUID],
        claim: Callable[[Sequence[UUID]], Awaitable[None]],
        *,
        executing: Callable[[], Sequence[int]],
    ) -> None:
        """Claim those of the suspects that can be, and put the others aside.

        Never raises: what fails is told, and the jobs are looked for again.
        """
        failed: dict[UUID, Exception] = {}

        async def attempt(half: Sequence[UUID]) -> None:
            try:
                await claim(half)
            except Exception as error:
                if not is_about_a_row(error):
                    raise
                # Claimed all the same, where only the answer could not be read.
                await self.release_orphans(self.db, executing=executing(), only=half)
                raise

        try:
            await run_by_halves(attempt, ids, refused=failed.__setitem__)
            if len(ids) == len(failed) >= MANY and not any(map(is_certain, failed.values())):
                problem = f"nothing can be claimed: {reason(failed[ids[0]])}"
                self.observers.tell(Faulted(where="look", error=problem))
                self.rest(failed)
                return
            await self.put_aside(
                [unworkable(id, error, what="claimed") for id, error in failed.items()]
            )
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="isolate", error=reason(error)))
        finally:
            self.suspects.difference_update(ids)

    async def suppressed(self, ids: Sequence[UUID], *, all_were: bool) -> None:
        """Put jobs aside of which a trigger suppressed the claim; `all_were`: no other was claimed.

        Never raises: what fails is told, and the jobs are looked for again.
        """
        try:
            if all_were and len(ids) >= MANY:
                problem = f"nothing can be claimed: {SUPPRESSED}"
                self.observers.tell(Faulted(where="look", error=problem))
                self.rest(ids)
            else:
                await self.put_aside([unworkable(id, SUPPRESSED, what="claimed") for id in ids])
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="isolate", error=reason(error)))
        finally:
            self.suspects.difference_update(ids)

    async def put_aside(self, jobs: Sequence[Unworkable]) -> None:
        """Give jobs a `plan_error`; let those rest that do not take it."""
        self.rest(await put_aside(self.db, self.observers, jobs, where="claim"))

    def rest(self, ids: Iterable[UUID], *, seconds: float = REST_SECONDS) -> None:
        """Leave jobs alone for a while."""
        until = self.clock() + seconds
        self.resting |= dict.fromkeys(ids, until)
        while len(self.resting) > MAX_RESTING:
            del self.resting[next(iter(self.resting))]

    async def unplanned(self) -> list[Unplanned]:
        """Read the jobs that have yet to be planned; put those aside that cannot be read.

        Raises:
            Exception: what `is_about_a_row` denies.
        """
        aside = self.aside()
        try:
            return await claims.list_unplanned(self.db, aside=aside)
        except Exception as error:
            if not is_about_a_row(error):
                raise
            found: list[Unworkable] = []
            parts = await run_by_halves(
                lambda half: claims.list_unplanned(self.db, only=half),
                await claims.list_unplanned_ids(self.db, aside=aside),
                refused=lambda id, error: found.append(unworkable(id, error, what="planned")),
            )
            await self.put_aside(found)
            return [one for part in parts for one in part]
