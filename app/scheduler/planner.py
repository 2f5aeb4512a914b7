"""Plans the recurring jobs that were written in SQL: there Postgres plans one-offs alone."""

from datetime import datetime
from functools import partial
from itertools import chain

from app.core.facts import Planned
from app.core.schedule.schedule import check, check_runs, normalized
from app.db import plans
from app.db.claims import Unworkable
from app.db.isolating import run_by_halves
from app.db.plans import Plan, Unplanned
from app.errors import InvalidInput
from app.scheduler.isolation import SUPPRESSED, Isolation, unworkable

UNWRITTEN_SECONDS = 1.0
"""How long jobs are left alone after none of their plans was written."""


async def plan_unplanned(isolation: Isolation, *, now: datetime) -> int:
    """Plan up to 100 unplanned jobs; return how many plans were written.

    A job whose row is locked or was edited meanwhile is left for another time. A job whose plan
    Postgres refuses, or a user's trigger suppresses, is put aside. Several instances may do this at
    once: they compute the same plans.
    """
    computed = [planned(job, now=now) for job in await isolation.unplanned()]
    unwritable: list[Unworkable] = []

    def refused(plan: Plan, error: Exception) -> None:
        unwritable.append(unworkable(plan.job_id, error, what="planned"))

    parts = await run_by_halves(partial(plans.write, isolation.db), computed, refused=refused)
    written = sum(part.planned for part in parts)
    suppressed = chain.from_iterable(part.suppressed for part in parts)
    unwritable += [unworkable(job_id, SUPPRESSED, what="planned") for job_id in suppressed]
    await isolation.put_aside(unwritable)
    if not written and len(computed) == plans.UNPLANNED:  # others may wait behind them
        unwritten = dict.fromkeys((plan.job_id for plan in computed), "its plan was not taken")
        isolation.rest(unwritten, seconds=UNWRITTEN_SECONDS)
    if written:
        invalid = sum(plan.plan_error is not None for plan in computed)
        isolation.observers.tell(Planned(jobs=written, refused=invalid))
    return written


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
