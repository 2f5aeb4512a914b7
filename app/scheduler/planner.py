"""Plans recurring jobs that were written in SQL; Postgres itself plans one-offs alone."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from app.core.schedule.opening import check_open
from app.core.schedule.schedule import check, check_runs, normalized
from app.core.schedule.spread import PlannedRun, spread
from app.db import Database, plans
from app.db.isolating import may_be_about_a_row, run_by_parts
from app.db.plans import Plan, Unplanned
from app.db.waiting import Position, last_position
from app.errors import InvalidInput, StatementCancelled
from app.scheduler.backlog import Step, Work
from app.scheduler.isolation import Isolation


class Planning(Work):
    """Reads jobs that have yet to be planned, and writes their plans.

    A job whose row is locked or was edited meanwhile is left for another time. A job whose plan
    Postgres refuses, or a user's trigger suppresses, is put aside. Several instances may plan the
    same jobs at once, as all compute the same plans.
    """

    where = "plan"
    what = "planned"

    def __init__(self, isolation: Isolation, db: Database, *, now: Callable[[], datetime]) -> None:
        super().__init__(isolation, db)
        self.now = now

    async def take(self, *, after: Position | None, aside: Sequence[UUID]) -> Step:
        """Plan up to 100 jobs behind a position."""
        began = self.isolation.clock()
        try:
            found = await plans.list_unplanned(self.db, after=after, aside=aside)
        except Exception as error:
            if not may_be_about_a_row(error) or isinstance(error, StatementCancelled):
                raise
            positions = await plans.list_unplanned_positions(self.db, after=after, aside=aside)
            ids = [one.job_id for one in positions]
            return await self.plan(ids, began=began, last=positions[-1] if positions else None)
        return await self.write(
            self.compute(found), plans.write, began=began, last=last_position(found)
        )

    async def take_lately(self, *, newer: str | None, aside: Sequence[UUID]) -> Step:
        """Plan up to five jobs that were written since a `read_horizon`."""
        began = self.isolation.clock()
        ids = await plans.list_unplanned_lately(self.db, newer=newer, aside=aside)
        return await self.plan(ids, began=began)

    async def plan(
        self, ids: Sequence[UUID], *, began: float, last: Position | None = None
    ) -> Step:
        """Plan those jobs that can be read, and put the others aside."""
        found: list[Unplanned] = []
        unreadable: dict[UUID, Exception] = {}

        async def read(some: Sequence[UUID]) -> None:
            found.extend(await plans.list_unplanned(self.db, only=some))

        def refused(job_id: UUID, error: Exception) -> None:
            unreadable[job_id] = error

        await run_by_parts(read, ids, refused=refused)
        return await self.write(
            self.compute(found), plans.write, began=began, last=last, unreadable=unreadable
        )

    def compute(self, found: Sequence[Unplanned]) -> list[Plan]:
        now = self.now()
        return [planned(job, now=now) for job in found]


def planned(job: Unplanned, *, now: datetime) -> Plan:
    """Return the plan of a job: its first run, or an error that says why there is none.

    The runs count from `job.planned_from`, not from when the instance came to plan the job: an
    interval stays exact, and a run that fell due in between is made up for like any late one. If
    `now` is earlier, as after the clock was set back, the runs count from `now`.
    """
    run: PlannedRun | None = None
    try:
        planned_from = min(job.planned_from, now)
        schedule = normalized(job.schedule)
        first = check(schedule, job_id=job.job_id, now=planned_from)
        if job.is_new:
            check_runs(schedule, first, now=planned_from)
        first = job.kept_run or first
        if first and job.open_spans is not None:
            check_open(schedule, first, job.open_spans, job_id=job.job_id)
        run = spread(schedule, first, job_id=job.job_id) if first else None
        plan_error = None
    except InvalidInput as error:
        schedule, plan_error = job.schedule, str(error)
    except Exception as error:  # noqa: BLE001 - a bug; one row must not take every instance down
        schedule = job.schedule
        plan_error = f"the schedule cannot be computed: {type(error).__name__}: {error}"
    return Plan(
        job_id=job.job_id,
        edited_at=job.edited_at,
        cron=schedule.cron,
        timezone=schedule.timezone,
        every_seconds=schedule.every_seconds,
        next_run=run.next_run if run else None,
        scheduled_for=run.scheduled_for if run else None,
        plan_error=plan_error,
    )
