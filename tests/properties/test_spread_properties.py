"""Runs that are spread, for any schedule, job and instant."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.schedule.schedule import LATEST, Schedule, end_by, recurrence_of, run_after
from app.core.schedule.spread import Spread, effective
from app.core.schedule.upcoming import Group, counts_of, moments, page_of

TICK = timedelta(microseconds=1)
NOW = datetime(2027, 3, 27, 12, tzinfo=UTC)  # the night after, clocks in Paris go forward
JITTERS = st.one_of(
    st.fixed_dictionaries({"jitter_seconds": st.floats(0, 200_000)}),
    st.fixed_dictionaries({"jitter_percent": st.floats(0, 100)}),
)
SCHEDULES = st.one_of(
    st.fixed_dictionaries(
        {
            "cron": st.sampled_from(
                ["* * * * *", "0 3 * * *", "30 2 * * *", "*/7 1-4 * * *", "H H * * *", "0 0 29 2 *"]
            ),
            "timezone": st.sampled_from(["UTC", "Europe/Paris", "America/New_York"]),
        }
    ),
    st.fixed_dictionaries({"every_seconds": st.floats(0.1, 500_000)}),
)
JOBS = st.uuids()
INSTANTS = st.datetimes(
    min_value=datetime(2026, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2040, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)


@given(SCHEDULES, JITTERS, JOBS, INSTANTS)
def test_a_run_starts_from_its_instant_on_and_before_the_next_one(
    rule: dict[str, object], jitter: dict[str, float], job_id: UUID, now: datetime
) -> None:
    schedule = Schedule(**rule, **jitter)  # type: ignore[arg-type]
    run = run_after(schedule, now, job_id=job_id)
    assert run is not None
    following = run_after(schedule, run, job_id=job_id)
    assert following is not None

    start = effective(schedule, run, job_id=job_id)

    assert run <= start < following
    assert start - run <= timedelta(seconds=jitter.get("jitter_seconds", 200_000_000))
    share = jitter.get("jitter_percent", 100.0) / 100
    assert start - run <= (following - run) * share + TICK
    assert effective(schedule, run, job_id=job_id) == start


@given(SCHEDULES, JITTERS, JOBS, st.data())
def test_the_starts_of_a_job_are_found_and_counted_as_they_are(
    rule: dict[str, object], jitter: dict[str, float], job_id: UUID, data: st.DataObject
) -> None:
    schedule = Schedule(**rule, starts_at=NOW, **jitter)  # type: ignore[arg-type]
    runs = [NOW - TICK]
    while len(runs) < 12 and (run := run_after(schedule, runs[-1], job_id=job_id)):
        runs.append(run)
    begun = {effective(schedule, run, job_id=job_id): run for run in runs[1:]}
    starts = list(begun)
    found = Spread(
        recurrence=recurrence_of(schedule, job_id, anchor=NOW),
        schedule=schedule,
        job_id=job_id,
        end=end_by(schedule, LATEST),
    )
    low, high = sorted(data.draw(st.lists(st.sampled_from(range(1, 11)), min_size=2, max_size=2)))
    nudge = data.draw(st.sampled_from([-TICK, timedelta(), TICK]))
    start, stop = starts[low] + nudge, starts[high]
    assume(start < stop)
    between = [one for one in starts if start <= one < stop]

    assert found.first(start, stop) == (between[0] if between else None)
    assert found.count(start, stop, limit=1000) == len(between)
    assert [found.nominal(one) for one in between] == [begun[one] for one in between]


@given(SCHEDULES, JITTERS, JOBS, st.one_of(st.none(), st.integers(1, 5)))
def test_runs_to_come_are_shown_when_they_will_start(
    rule: dict[str, object], jitter: dict[str, float], job_id: UUID, runs_left: int | None
) -> None:
    schedule = Schedule(**rule, **jitter)  # type: ignore[arg-type]
    run = run_after(schedule, NOW, job_id=job_id)
    expected: list[tuple[datetime, datetime]] = []
    while run is not None and len(expected) < (runs_left or 6):
        expected.append((effective(schedule, run, job_id=job_id), run))
        run = run_after(schedule, run, job_id=job_id)
    group = Group(
        schedule=schedule,
        job_id=job_id,
        next_run=expected[0][0],
        scheduled_for=expected[0][1],
        runs_left=runs_left,
        jobs=1,
        ids=[job_id],
    )
    until = expected[-1][0] + TICK

    walk = moments([group], now=NOW, since=None, until=until)
    shown, _ = page_of(walk, after=None, limit=100, most=1000)
    counts, _ = counts_of([group], now=NOW, until=until, bucket_seconds=3600, most=100_000)

    assert [(one.at, one.scheduled_for) for one in shown] == expected
    assert sum(counts.values()) == len(expected)


@pytest.mark.parametrize("percent", [1, 100])
@given(JOBS)
def test_the_order_of_runs_is_that_of_their_instants(percent: int, job_id: UUID) -> None:
    schedule = Schedule(cron="*/5 * * * *", jitter_percent=percent)
    instants = [NOW + n * timedelta(minutes=5) for n in range(20)]

    starts = [effective(schedule, one, job_id=job_id) for one in instants]

    assert all(one < other for one, other in pairwise(starts))
