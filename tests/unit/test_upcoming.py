"""The runs to come of many jobs: those that each has by itself, and one search for a rule."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.core.schedule.occurrences import ZonedCron
from app.core.schedule.schedule import Schedule, first_run, run_after
from app.core.schedule.upcoming import EPOCH, Group, counts_of, moments, page_of

NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEDULES = {
    "hourly": {"cron": "0 * * * *"},
    "zone and its change of clocks": {"cron": "30 2 * * *", "timezone": "Europe/Paris"},
    "skipped gap": {"cron": "30 2 * * *", "timezone": "Europe/Paris", "dst_gap": "skip"},
    "hashed": {"cron": "H H * * *"},
    "interval": {"every_seconds": 5000.0},
    "interval from a start": {"every_seconds": 7000.0, "starts_at": NOW - HOUR},
    "starts": {"cron": "0 */2 * * *", "starts_at": NOW + 9 * HOUR},
    "ends": {"cron": "0 * * * *", "ends_at": NOW + 5 * HOUR},
    "once": {"run_at": NOW + 3 * HOUR},
}


def id_of(number: int) -> UUID:
    return UUID(int=number)


def group(number: int = 1, jobs: int = 1, **fields: Any) -> Group:  # noqa: ANN401
    schedule = fields.pop("schedule")
    ids = [id_of(number + n) for n in range(jobs)]
    next_run = fields.pop("next_run", None) or first_run(schedule, job_id=ids[0], now=NOW)
    return Group(
        schedule=schedule,
        job_id=ids[0],
        next_run=next_run,
        scheduled_for=fields.pop("scheduled_for", next_run),
        jobs=jobs,
        ids=ids,
        **fields,
    )


def runs_of(groups: list[Group], *, until: datetime) -> list[tuple[datetime, int]]:
    walk = moments(groups, now=NOW, since=None, until=until)
    runs, reached = page_of(walk, after=None, limit=10_000, most=10_000)
    assert reached is None
    return [(run.at, run.job_id.int) for run in runs]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_job_has_the_runs_that_it_has_by_itself(name: str) -> None:
    schedule = Schedule(**SCHEDULES[name])  # type: ignore[arg-type]
    one = group(schedule=schedule)
    until = NOW + timedelta(days=3)

    expected = []
    run = one.next_run
    while run is not None and run < until:
        expected.append((run, 1))
        run = run_after(schedule, run, job_id=id_of(1))

    assert len(expected) > 0
    assert runs_of([one], until=until) == expected


def test_runs_of_all_jobs_come_in_the_order_of_time_and_of_ids() -> None:
    hourly = Schedule(cron="0 * * * *")
    half = Schedule(cron="*/30 * * * *")
    groups = [group(5, jobs=2, schedule=hourly), group(1, schedule=half), group(3, schedule=hourly)]

    found = runs_of(groups, until=NOW + 2 * HOUR)

    assert found == [
        (NOW + HOUR / 2, 1),
        *((NOW + HOUR, number) for number in (1, 3, 5, 6)),
        (NOW + 1.5 * HOUR, 1),
    ]


def test_a_run_under_way_is_not_to_come_but_those_after_it_are() -> None:
    under_way = Group(
        schedule=Schedule(cron="0 * * * *"),
        next_run=None,
        scheduled_for=NOW - timedelta(minutes=1),
        jobs=1,
        ids=[id_of(1)],
    )

    assert runs_of([under_way], until=NOW + 2.5 * HOUR) == [(NOW + HOUR, 1), (NOW + 2 * HOUR, 1)]


def test_a_late_run_is_there_and_what_it_missed_is_not() -> None:
    late = group(schedule=Schedule(cron="0 * * * *"), next_run=NOW - 5 * HOUR)

    assert runs_of([late], until=NOW + 1.5 * HOUR) == [(NOW - 5 * HOUR, 1), (NOW + HOUR, 1)]


def test_a_retry_stands_at_its_own_instant() -> None:
    retry = group(
        schedule=Schedule(cron="0 * * * *"), next_run=NOW + HOUR / 4, scheduled_for=NOW - HOUR
    )

    assert runs_of([retry], until=NOW + 1.5 * HOUR) == [(NOW + HOUR / 4, 1), (NOW + HOUR, 1)]


@pytest.mark.parametrize(("left", "count"), [(None, 6), (1, 1), (3, 3), (9, 6)])
def test_a_job_has_no_more_runs_than_are_left(left: int | None, count: int) -> None:
    limited = group(schedule=Schedule(cron="0 * * * *"), runs_left=left)

    assert len(runs_of([limited], until=NOW + 6.5 * HOUR)) == count


@pytest.mark.parametrize(
    "odd",
    [
        Schedule(cron="what is this"),
        Schedule(cron="0 * * * *", timezone="Nowhere"),
        Schedule(),
        Schedule(every_seconds=0.0, starts_at=NOW),
    ],
    ids=["cron", "zone", "none", "interval"],
)
def test_a_schedule_that_cannot_be_read_hides_no_other_job(odd: Schedule) -> None:
    unread = group(1, schedule=odd, next_run=NOW + HOUR)
    well = group(2, schedule=Schedule(cron="0 * * * *"))

    assert runs_of([unread, well], until=NOW + 1.5 * HOUR) == [(NOW + HOUR, 1), (NOW + HOUR, 2)]


def test_jobs_of_one_rule_cost_one_search_for_each_instant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = 0
    first = ZonedCron.first

    def counted(self: ZonedCron, start: datetime, stop: datetime) -> datetime | None:
        nonlocal searched
        searched += 1
        return first(self, start, stop)

    schedule = Schedule(cron="0 * * * *")
    crowd = [group(n * 1000, jobs=1000, schedule=schedule, next_run=NOW + HOUR) for n in range(100)]
    monkeypatch.setattr(ZonedCron, "first", counted)

    counts, reached = counts_of(
        crowd, now=NOW, until=NOW + timedelta(days=1), bucket_seconds=3600, most=100
    )

    assert (set(counts.values()), len(counts), reached) == ({100_000}, 23, None)
    assert searched <= 24


def test_pages_together_have_every_run_once() -> None:
    hourly = Schedule(cron="0 * * * *")
    groups = [group(1, jobs=7, schedule=hourly), group(20, schedule=Schedule(every_seconds=1000.0))]
    until = NOW + 5 * HOUR
    whole = runs_of(groups, until=until)
    pages: list[tuple[datetime, int]] = []
    after: tuple[datetime, UUID] | None = None
    while True:
        walk = moments(groups, now=NOW, since=after and after[0], until=until)
        runs, _ = page_of(walk, after=after, limit=3, most=100)
        if not runs:
            break
        pages += [(run.at, run.job_id.int) for run in runs]
        after = (runs[-1].at, runs[-1].job_id)

    assert pages == whole


def test_what_is_late_counts_now_and_buckets_begin_at_multiples_of_their_length() -> None:
    late = group(1, jobs=5, schedule=Schedule(run_at=NOW - HOUR))
    soon = group(10, schedule=Schedule(every_seconds=600.0), next_run=NOW + HOUR / 4)

    counts, _ = counts_of(
        [late, soon],
        now=NOW + timedelta(seconds=7),
        until=NOW + HOUR,
        bucket_seconds=1800,
        most=100,
    )

    assert counts == {NOW: 5 + 2, NOW + HOUR / 2: 3}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("bucket_seconds", [600, 3600, 86_400])
@pytest.mark.parametrize("left", [None, 1, 5])
def test_counts_are_those_of_the_list(name: str, bucket_seconds: int, left: int | None) -> None:
    schedule = Schedule(**SCHEDULES[name])  # type: ignore[arg-type]
    groups = [
        group(1, jobs=3, schedule=schedule, runs_left=left),
        group(10, schedule=Schedule(cron="*/7 * * * *")),
    ]
    until = NOW + timedelta(days=2, minutes=17)
    length = timedelta(seconds=bucket_seconds)
    expected = Counter(at - (at - EPOCH) % length for at, _ in runs_of(groups, until=until))

    counts, reached = counts_of(
        groups, now=NOW, until=until, bucket_seconds=bucket_seconds, most=10_000
    )

    assert {at: runs for at, runs in counts.items() if runs} == expected
    assert reached is None


def test_a_busy_job_costs_one_step_for_each_bucket() -> None:
    busy = group(1, schedule=Schedule(every_seconds=0.1))
    day = timedelta(days=1)

    counts, reached = counts_of([busy], now=NOW, until=NOW + day, bucket_seconds=3600, most=25)

    assert (sum(counts.values()), reached) == (day / timedelta(seconds=0.1) - 1, None)


def test_where_counting_ends_too_early_the_buckets_that_there_are_are_whole() -> None:
    hourly = [group(n, schedule=Schedule(cron=f"{n} * * * *")) for n in range(1, 11)]
    until = NOW + timedelta(days=1)
    all_counts, _ = counts_of(hourly, now=NOW, until=until, bucket_seconds=1800, most=10_000)

    counts, reached = counts_of(hourly, now=NOW, until=until, bucket_seconds=1800, most=55)

    assert reached is not None
    assert NOW < reached < until
    assert counts == {at: runs for at, runs in all_counts.items() if at < reached}


def test_of_a_rule_that_has_no_runs_left_no_more_instants_are_tried_than_is_said() -> None:
    spent = group(2, schedule=Schedule(every_seconds=0.1), runs_left=2)
    walk = moments([spent], now=NOW, since=None, until=NOW + timedelta(days=366))

    runs, reached = page_of(walk, after=None, limit=10, most=50)

    assert len(runs) == 2
    assert reached is not None
    assert reached < NOW + timedelta(seconds=6)
