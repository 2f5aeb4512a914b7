"""Plans of recurring jobs that were typed in SQL."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.core.schedule.schedule import Schedule
from app.db.plans import Plan, Unplanned
from app.scheduler.planner import planned

EDITED = datetime(2026, 12, 1, 2, 59, 59, 123456, tzinfo=UTC)
NOW = EDITED + timedelta(days=3)


def plan(schedule: Schedule, *, planned_from: datetime = EDITED, now: datetime = NOW) -> Plan:
    job = Unplanned(
        job_id=UUID(int=1), edited_at=EDITED, planned_from=planned_from, schedule=schedule
    )
    return planned(job, now=now)


def test_an_interval_counts_from_its_edit_and_not_from_when_it_is_planned() -> None:
    assert plan(Schedule(every_seconds=0.1)).next_run == EDITED + timedelta(seconds=0.1)


def test_a_grid_is_kept_however_late_it_is_planned() -> None:
    schedule = Schedule(every_seconds=300, starts_at=EDITED - timedelta(seconds=1000))

    assert plan(schedule).next_run == EDITED + timedelta(seconds=200)


def test_a_cron_that_fell_due_before_it_was_planned_is_late_and_not_forgotten() -> None:
    assert plan(Schedule(cron="0 3 * * *")).next_run == datetime(2026, 12, 1, 3, tzinfo=UTC)


def test_runs_before_the_last_one_are_not_repeated() -> None:
    last = EDITED + timedelta(days=1)

    next_run = plan(Schedule(cron="0 3 * * *"), planned_from=last).next_run

    assert next_run == datetime(2026, 12, 2, 3, tzinfo=UTC)


def test_an_edit_that_the_clock_has_yet_to_reach_counts_from_now() -> None:
    now = EDITED - timedelta(days=60)

    assert plan(Schedule(every_seconds=60), now=now).next_run == now + timedelta(seconds=60)
