"""Plans the recurring jobs that were written in SQL: there Postgres plans one-offs alone."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from app.core.facts import Planned
from app.core.schedule.schedule import check, check_runs, normalized
from app.db import Database, plans
from app.db.claims import Unworkable
from app.db.isolating import may_be_about_a_row, run_by_parts
from app.db.places import Place, place_of
from app.db.plans import Plan, Unplanned
from app.errors import InvalidInput, StatementCancelled
from app.scheduler.backlog import Step
from app.scheduler.isolation import SUPPRESSED, Isolation, named, unworkable


class Planning:
    """Reads jobs that have yet to be planned, and writes their plans.

    A job whose row is locked or was edited meanwhile is left for another time. A job whose plan
    Postgres refuses, or a user's trigger suppresses, is put aside. Several instances may do this at
    once: they compute the same plans.
    """

    def __init__(self, isolation: Isolation, db: Database, *, now: Callable[[], datetime]) -> None:
        self.isolation = isolation
        self.db = db
        """A pool whose statements end soon."""
        self.now = now

    def __str__(self) -> str:
        return "plan"

    async def take(self, *, after: Place | None, aside: Sequence[UUID]) -> Step:
        """Plan up to 100 jobs behind a place."""
        unreadable: list[Unworkable] = []
        try:
            found = await plans.list_unplanned(self.db, after=after, aside=aside)
            last = place_of(found[-1]) if found else None
        except Exception as error:
            if not may_be_about_a_row(error) or isinstance(error, StatementCancelled):
                raise
            places = await plans.list_unplanned_places(self.db, after=after, aside=aside)
            found = await self.read_by_parts([one.job_id for one in places], unreadable)
            last = places[-1] if places else None
        return await self.write(found, unreadable, last=last)

    async def take_lately(self, *, newer: str | None, aside: Sequence[UUID]) -> Step:
        """Plan up to five jobs that were written since a `read_horizon`."""
        ids = await plans.list_unplanned_lately(self.db, newer=newer, aside=aside)
        unreadable: list[Unworkable] = []
        return await self.write(await self.read_by_parts(ids, unreadable), unreadable)

    async def read_by_parts(
        self, ids: Sequence[UUID], unreadable: list[Unworkable]
    ) -> list[Unplanned]:
        """Read jobs, and collect those that cannot be read."""
        found: list[Unplanned] = []

        async def read(some: Sequence[UUID]) -> None:
            found.extend(await plans.list_unplanned(self.db, only=some))

        def refused(job_id: UUID, error: Exception) -> None:
            unreadable.append(unworkable(job_id, error, what="planned"))

        if ids:
            await run_by_parts(read, ids, refused=refused)
        return found

    async def write(
        self,
        found: Sequence[Unplanned],
        unworkables: list[Unworkable],
        *,
        last: Place | None = None,
    ) -> Step:
        """Write the plans of some jobs; put those aside that have none, and tell."""
        now = self.now()
        computed = [planned(job, now=now) for job in found]
        written: set[UUID] = set()
        suppressed: set[UUID] = set()

        async def write(some: Sequence[Plan]) -> None:
            result = await plans.write(self.db, some)
            written.update(result.written)
            suppressed.update(result.suppressed)

        def refused(plan: Plan, error: Exception) -> None:
            unworkables.append(unworkable(plan.job_id, error, what="planned"))

        if computed:
            await run_by_parts(write, computed, refused=refused, blame=True)
        unworkables += [unworkable(one, SUPPRESSED, what="planned") for one in suppressed]
        left = await self.isolation.put_aside_waiting(unworkables, db=self.db, where="plan")
        refusals = {
            plan.job_id: plan.plan_error
            for plan in computed
            if plan.plan_error is not None and plan.job_id in written
        }
        if written:
            self.isolation.observers.tell(
                Planned(jobs=len(written), refused=len(refusals), refusals=named(refusals) or None)
            )
        return Step(
            read=len(found) + len(unworkables),
            done=len(written) + len(unworkables) - len(left),
            left=left,
            last=last,
        )


def planned(job: Unplanned, *, now: datetime) -> Plan:
    """Return the plan of a job: its first run, or an error that says why there is none.

    The runs count from `job.planned_from`, not from when the instance came to plan the job: an
    interval stays exact, and a run that fell due in between is made up for like any late one. Where
    `now` is earlier, as after the clock was set back, they count from `now`.
    """
    try:
        planned_from = min(job.planned_from, now)
        schedule = normalized(job.schedule)
        next_run = check(schedule, job_id=job.job_id, now=planned_from)
        if job.is_new:
            check_runs(schedule, next_run, now=planned_from)
        plan_error = None
    except InvalidInput as error:
        schedule, next_run, plan_error = job.schedule, None, str(error)
    except Exception as error:  # noqa: BLE001 - a bug; one row must not take every instance down
        schedule, next_run = job.schedule, None
        plan_error = f"the schedule cannot be computed: {type(error).__name__}: {error}"
    return Plan(
        job_id=job.job_id,
        edited_at=job.edited_at,
        cron=schedule.cron,
        timezone=schedule.timezone,
        every_seconds=schedule.every_seconds,
        next_run=next_run,
        plan_error=plan_error,
    )
