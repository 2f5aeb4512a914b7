"""Where in its span a run starts, and what goes by the nominal instant all the same."""

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, MisfirePolicy, Missed, Overlap
from app.core.runs.holding import lateness_at
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome, Report
from app.core.runs.overlap import superseded_at
from app.core.runs.parallel import planned_behind
from app.core.runs.resume import Openings, on_resumption, resumed
from app.core.runs.skip import skipped
from app.core.runs.transition import settled
from app.core.schedule.replan import Planned, replanned
from app.core.schedule.schedule import Schedule
from app.core.schedule.spread import effective, share, spread
from app.core.schedule.upcoming import Group, skipped_of
from app.core.schedule.zone_rules import choose_rules
from app.jobs.pauses import as_claimed
from tests.support.claims import DUE, some_claim
from tests.support.zones import ALWAYS_WEST_7, ALWAYS_WEST_8, VANCOUVER, zone_tree
from tests.unit.test_job_input import STORED

JOB = UUID("019ab000-0000-7000-8000-000000000001")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TICK = timedelta(microseconds=1)
THERE = Attendance(instance="one")
HALF = Schedule(cron="* * * * *", jitter_percent=50)
ALL = Schedule(cron="* * * * *", jitter_percent=100)
KNOWN = 12_234_377_171_550_613_391
"""The share of `JOB` at `DUE`, as every version of Python has to have it."""


def test_the_hash_is_the_one_that_it_always_was() -> None:
    assert share(JOB, DUE) == KNOWN


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_every_process_has_the_same_hash(seed: str) -> None:
    script = (
        "from datetime import datetime; from uuid import UUID;"
        "from app.core.schedule.spread import share;"
        f"print(share(UUID('{JOB}'), datetime.fromisoformat('{DUE.isoformat()}')))"
    )

    said = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(said.stdout) == KNOWN


def test_without_jitter_a_run_starts_at_its_instant() -> None:
    assert effective(Schedule(cron="* * * * *"), DUE, job_id=JOB) == DUE
    assert effective(Schedule(run_at=DUE), DUE, job_id=JOB) == DUE
    assert effective(Schedule(cron="* * * * *", jitter_seconds=0), DUE, job_id=JOB) == DUE


def test_the_starts_of_many_jobs_are_about_as_many_in_each_tenth_of_the_span() -> None:
    schedule = Schedule(cron="0 * * * *", jitter_percent=100)
    starts = [effective(schedule, DUE, job_id=UUID(int=n)) for n in range(5000)]

    tenths = Counter((start - DUE) * 10 // HOUR for start in starts)

    assert sorted(tenths) == list(range(10))
    assert all(350 < many < 650 for many in tenths.values())  # seven standard deviations


def test_the_runs_of_one_job_start_differently_from_time_to_time() -> None:
    schedule = Schedule(every_seconds=3600, jitter_seconds=3600)

    waits = {effective(schedule, DUE + n * HOUR, job_id=JOB) - (DUE + n * HOUR) for n in range(50)}

    assert len(waits) == 50


def test_a_longer_jitter_than_the_interval_ends_before_the_next_run() -> None:
    schedule = Schedule(every_seconds=60, jitter_seconds=86_400)

    starts = [effective(schedule, DUE + n * MINUTE, job_id=JOB) for n in range(500)]

    assert starts == sorted(set(starts))
    assert all(DUE + n * MINUTE <= start < DUE + (n + 1) * MINUTE for n, start in enumerate(starts))


def test_the_last_run_of_a_window_is_spread_as_if_another_followed() -> None:
    whole = Schedule(cron="0 * * * *", jitter_percent=100)
    ended = replace(whole, ends_at=DUE)

    assert effective(ended, DUE, job_id=JOB) == effective(whole, DUE, job_id=JOB) > DUE


def test_a_percentage_of_no_interval_is_nothing_and_seconds_stay_within_what_postgres_keeps() -> (
    None
):
    last = datetime(2099, 12, 31, 0, 0, tzinfo=UTC)
    latest = datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)

    once = Schedule(cron="0 0 0 31 12 * 2099", jitter_percent=100)
    often = Schedule(every_seconds=86_400, jitter_seconds=31_557_600)

    assert effective(once, last, job_id=JOB) == last
    assert effective(often, latest, job_id=JOB) <= datetime(2200, 1, 1, tzinfo=UTC)


def test_the_next_run_is_of_the_instant_after_this_one_however_late_this_one_started() -> None:
    start = effective(HALF, DUE, job_id=JOB)
    claim = some_claim(schedule=HALF, next_run=start)

    settlement = settled(
        claim,
        Report(outcome=Outcome.SUCCEEDED),
        started_at=start,
        finished_at=start,
        instance="one",
        jitter=0.5,
    )

    assert settlement.scheduled_for == DUE + MINUTE
    assert settlement.next_run == effective(HALF, DUE + MINUTE, job_id=JOB) > DUE + MINUTE
    assert settlement.executions[0].scheduled_for == DUE


@pytest.mark.parametrize(
    ("overlap", "left_out"), [(Overlap.SKIP, 2), (Overlap.BUFFER_ONE, 1), (Overlap.BUFFER_ALL, 0)]
)
def test_a_spread_run_meets_the_one_before_where_it_would_have_started(
    overlap: Overlap, left_out: int
) -> None:
    runs = [DUE + n * MINUTE for n in range(5)]
    starts = [effective(HALF, run, job_id=JOB) for run in runs]
    claim = some_claim(schedule=HALF, next_run=starts[0], overlap=overlap)

    settlement = settled(
        claim,
        Report(outcome=Outcome.SUCCEEDED),
        started_at=starts[0],
        finished_at=starts[3] - TICK,  # when the instant of the fourth has come, but not its start
        instance="one",
        jitter=0.5,
    )

    missed_runs = [row.scheduled_for for row in settlement.executions if row.missed_runs]
    assert missed_runs == runs[1 : 1 + left_out]
    assert (settlement.scheduled_for, settlement.next_run) == (
        runs[1 + left_out],
        starts[1 + left_out],
    )


def test_a_spread_run_cancels_the_one_before_when_it_starts() -> None:
    start = effective(HALF, DUE, job_id=JOB)
    claim = some_claim(schedule=HALF, next_run=start, overlap=Overlap.CANCEL_OTHER)

    assert superseded_at(claim, now=start) == effective(HALF, DUE + MINUTE, job_id=JOB)


def test_max_runs_counts_runs_that_are_spread() -> None:
    claim = some_claim(schedule=HALF, next_run=effective(HALF, DUE, job_id=JOB), max_runs=1)

    settlement = settled(
        claim,
        Report(outcome=Outcome.SUCCEEDED),
        started_at=DUE,
        finished_at=DUE,
        instance="one",
        jitter=0.5,
    )

    assert settlement.next_run is None


def test_a_spread_run_is_late_from_its_own_start_on() -> None:
    start = effective(HALF, DUE, job_id=JOB)
    late = MisfirePolicy(misfire=Misfire.SKIP, grace_seconds=10, max_catchup=100)
    claim = some_claim(schedule=HALF, next_run=start, late=late)

    assert start > DUE + timedelta(seconds=5)
    assert missed(claim, now=start + timedelta(seconds=10), attendance=THERE) is None
    assert missed(claim, now=start + timedelta(seconds=10) + TICK, attendance=THERE) is not None


@pytest.mark.parametrize("misfire", list(Misfire))
def test_missed_runs_are_those_whose_start_is_past_and_the_plan_goes_on_behind(
    misfire: Misfire,
) -> None:
    late = MisfirePolicy(misfire=misfire, grace_seconds=0, max_catchup=3)
    start = effective(ALL, DUE, job_id=JOB)
    claim = some_claim(schedule=ALL, next_run=start, late=late)
    starts = {DUE + n * MINUTE: effective(ALL, DUE + n * MINUTE, job_id=JOB) for n in range(9)}
    now = starts[DUE + 5 * MINUTE] - TICK  # the sixth has yet to start, though its instant has come
    past = [run for run, begun in starts.items() if begun < now]
    kept = {Misfire.SKIP: 0, Misfire.RUN_ONCE: 1, Misfire.RUN_ALL: 3}[misfire]
    dropped = past[: len(past) - kept]
    following = starts.keys() - set(dropped)

    settlement = missed(claim, now=now, attendance=THERE)

    assert settlement is not None
    assert [row.scheduled_for for row in settlement.executions] == dropped
    assert settlement.scheduled_for == min(following)
    assert settlement.next_run == starts[min(following)]


def spread_claim(run: int = 0, **changes: Any) -> Claim:  # noqa: ANN401
    """Return a claim of the run so many minutes after `DUE`, which started as it was planned."""
    occurrence = DUE + run * MINUTE
    return some_claim(
        schedule=ALL,
        scheduled_for=occurrence,
        next_run=effective(ALL, occurrence, job_id=JOB),
        **changes,
    )


def test_what_is_skipped_and_has_yet_to_start_is_not_on_record_before_its_time() -> None:
    started = effective(ALL, DUE + 3 * MINUTE, job_id=JOB)

    for claim in (spread_claim(skip_runs=9), spread_claim(skip_until=DUE + HOUR)):
        before = skipped(claim, now=started - TICK)
        after = skipped(claim, now=started)

        assert before is not None
        assert after is not None
        assert (len(before.executions), before.scheduled_for) == (3, DUE + 3 * MINUTE)
        assert before.next_run == started
        assert (len(after.executions), after.scheduled_for) == (4, DUE + 4 * MINUTE)


def test_a_run_that_would_have_started_after_the_pause_was_not_missed_for_it() -> None:
    start = effective(ALL, DUE, job_id=JOB)
    resumed_at = start - TICK
    assert resumed_at > DUE

    assert not spread_claim(resumed_at=resumed_at, resume_missed=Missed.SKIP).is_resumed
    assert spread_claim(resumed_at=start, resume_missed=Missed.SKIP).is_resumed


def test_a_deferred_run_that_was_due_in_the_pause_is_treated_as_was_said() -> None:
    start = effective(ALL, DUE, job_id=JOB)
    claim = spread_claim(resumed_at=start, resume_missed=Missed.SKIP)

    assert replace(claim, next_run=start + HOUR).is_resumed


def test_of_runs_in_a_pause_those_are_dropped_that_would_have_started_in_it() -> None:
    resumed_at = effective(ALL, DUE + 3 * MINUTE, job_id=JOB) - TICK
    claim = spread_claim(resumed_at=resumed_at, resume_missed=Missed.SKIP)

    settlement = resumed(claim, now=DUE + HOUR)

    assert settlement is not None
    assert [row.scheduled_for for row in settlement.executions] == [
        DUE + n * MINUTE for n in range(3)
    ]
    assert settlement.scheduled_for == DUE + 3 * MINUTE


def test_the_time_of_a_spread_run_stands_still_for_a_permit_from_its_start_on() -> None:
    claim = spread_claim(waiting_since=DUE - MINUTE)
    start = claim.next_run
    before_it = replace(claim, last_finished_at=start - TICK)
    into_it = replace(claim, last_finished_at=start + TICK)

    assert lateness_at(claim, now=DUE + HOUR) == start
    assert lateness_at(before_it, now=DUE + HOUR) == start
    assert lateness_at(into_it, now=DUE + HOUR) == DUE + HOUR


def test_the_run_behind_one_that_goes_on_beside_it_is_spread() -> None:
    behind = planned_behind(spread_claim(overlap=Overlap.ALLOW_ALL))

    assert behind == spread(ALL, DUE + MINUTE, job_id=JOB)
    assert behind.next_run > behind.scheduled_for


def test_a_resumption_counts_the_runs_that_would_have_started() -> None:
    now = effective(ALL, DUE + 3 * MINUTE, job_id=JOB)
    job = replace(
        STORED,
        id=JOB,
        cron="* * * * *",
        timezone="UTC",
        jitter_percent=100,
        paused=True,
        scheduled_for=DUE,
        next_run=effective(ALL, DUE, job_id=JOB),
    )

    def many(now: datetime) -> int:
        assert job.next_run is not None
        claim = as_claimed(job, job.next_run, now=now)
        return on_resumption(claim, Openings(), Missed.SKIP, now=now).missed_runs

    assert [many(one) for one in (now - TICK, now, DUE)] == [3, 4, 0]


def test_skipped_runs_to_come_are_counted_up_to_the_start_of_the_last() -> None:
    for skipping in ({"skip_runs": 3}, {"skip_until": DUE + 2 * MINUTE + TICK}):
        group = Group(
            schedule=ALL,
            job_id=JOB,
            next_run=effective(ALL, DUE, job_id=JOB),
            scheduled_for=DUE,
            jobs=1,
            ids=[JOB],
            **skipping,  # type: ignore[arg-type]
        )

        counts, _ = skipped_of([group], now=DUE, until=DUE + HOUR, bucket_seconds=86_400, most=1000)

        assert sum(counts.values()) == 3


def test_newer_zone_rules_move_a_spread_run_by_its_instant(tmp_path: Path) -> None:
    west_8 = choose_rules(str(zone_tree(tmp_path / "8", "2025b", ALWAYS_WEST_8)))
    west_7 = choose_rules(str(zone_tree(tmp_path / "7", "2026f", ALWAYS_WEST_7)))
    schedule = Schedule(cron="0 3 * * *", timezone=VANCOUVER, jitter_percent=50)
    by_8 = spread(schedule, instant("2026-12-15T11:00"), job_id=JOB, rules=west_8)
    by_7 = spread(schedule, instant("2026-12-15T10:00"), job_id=JOB, rules=west_7)
    plan = Planned(job_id=JOB, schedule=schedule, run=by_8)

    moved = replanned(plan, now=instant("2026-12-14T20:00"), old=west_8, new=west_7)
    waiting = replanned(plan, now=instant("2026-12-15T11:00"), old=west_8, new=west_7)
    again = replanned(
        Planned(job_id=JOB, schedule=schedule, run=by_7),
        now=instant("2026-12-14T20:00"),
        old=west_7,
        new=west_7,
    )

    assert moved == by_7
    assert by_7.next_run > by_7.scheduled_for
    assert waiting is None, "its instant has come, though it has yet to start"
    assert again is None


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
