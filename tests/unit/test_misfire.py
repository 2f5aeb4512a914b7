"""What becomes of runs that nobody could start within the grace."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.runs.claim import Misfire, MisfirePolicy, Overlap
from app.core.runs.closing import too_soon
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome
from app.core.runs.skip import skipped
from app.core.schedule.schedule import Schedule
from tests.support.claims import DUE, ONE_OFF, some_claim

TEN_LATE = DUE + timedelta(minutes=10, seconds=30)
"""Ten minutely runs, at 0 to 9 minutes, are then later than the grace of 60 s; one is not."""


HERE = Attendance(instance="one")


def policy(misfire: Misfire, *, grace: float | None = None, catchup: int = 100) -> MisfirePolicy:
    return MisfirePolicy(misfire=misfire, grace_seconds=grace, max_catchup=catchup)


@pytest.mark.parametrize("misfire", list(Misfire))
def test_a_run_within_the_grace_is_carried_out(misfire: Misfire) -> None:
    claim = some_claim(late=policy(misfire))

    assert missed(claim, now=DUE + timedelta(seconds=60), attendance=HERE) is None


def test_run_once_moves_to_the_latest_missed_run_and_records_the_others() -> None:
    settlement = missed(some_claim(), now=TEN_LATE, attendance=HERE)

    assert settlement is not None
    assert settlement.next_run == settlement.scheduled_for == DUE + timedelta(minutes=9)
    assert [row.scheduled_for for row in settlement.executions] == [
        DUE + timedelta(minutes=minute) for minute in range(9)
    ]
    assert {(row.outcome, row.reason, row.missed_runs) for row in settlement.executions} == {
        (Outcome.MISSED, "misfire", 1)
    }
    assert (settlement.attempt, settlement.runs) == (0, 0)


def test_run_once_then_carries_the_latest_out_however_late_it_is() -> None:
    latest = DUE + timedelta(minutes=9)
    claim = some_claim(next_run=latest, scheduled_for=latest)

    assert missed(claim, now=TEN_LATE, attendance=HERE) is None


def test_skip_drops_them_all() -> None:
    settlement = missed(some_claim(late=policy(Misfire.SKIP)), now=TEN_LATE, attendance=HERE)

    assert settlement is not None
    assert settlement.next_run == DUE + timedelta(minutes=10)
    assert len(settlement.executions) == 10
    assert settlement.last_outcome is Outcome.MISSED


def test_run_all_carries_each_out_oldest_first() -> None:
    assert missed(some_claim(late=policy(Misfire.RUN_ALL)), now=TEN_LATE, attendance=HERE) is None


def test_run_all_drops_the_oldest_beyond_max_catchup() -> None:
    settlement = missed(
        some_claim(late=policy(Misfire.RUN_ALL, catchup=4)), now=TEN_LATE, attendance=HERE
    )

    assert settlement is not None
    assert settlement.next_run == DUE + timedelta(minutes=6)
    assert len(settlement.executions) == 6


def test_run_all_with_nothing_to_catch_up_is_skip() -> None:
    settlement = missed(
        some_claim(late=policy(Misfire.RUN_ALL, catchup=0)), now=TEN_LATE, attendance=HERE
    )

    assert settlement is not None
    assert settlement.next_run == DUE + timedelta(minutes=10)
    assert len(settlement.executions) == 10


def test_thousands_of_missed_runs_share_one_row() -> None:
    claim = some_claim(schedule=Schedule(cron="* * * * * *"), late=policy(Misfire.SKIP))

    settlement = missed(claim, now=DUE + timedelta(hours=1), attendance=HERE)

    assert settlement is not None
    [row] = settlement.executions
    assert row.missed_runs == 3600 - 60
    assert (row.scheduled_for, row.missed_until) == (DUE, DUE + timedelta(seconds=3539))
    assert "3540 runs were missed" in (row.error or "")


def test_a_gap_too_long_to_count_says_so() -> None:
    claim = some_claim(schedule=Schedule(every_seconds=0.5), late=policy(Misfire.SKIP))

    settlement = missed(claim, now=DUE + timedelta(days=30), attendance=HERE)

    assert settlement is not None
    [row] = settlement.executions
    assert (row.error or "").startswith("at least 1000000 runs")


def test_runs_that_came_due_while_the_one_before_executed_are_an_overlap() -> None:
    claim = some_claim(last_finished_at=DUE + timedelta(minutes=9))

    settlement = missed(claim, now=TEN_LATE, attendance=HERE)

    assert settlement is not None
    assert {row.reason for row in settlement.executions} == {"overlap"}
    assert "ran too long: the run before was unfinished until 2026-11-24 12:09 UTC" in (
        settlement.executions[0].error or ""
    )


def test_a_job_that_only_missed_runs_is_late_for_the_next_one_as_ever() -> None:
    claim = some_claim(late=policy(Misfire.SKIP), overlap=Overlap.SKIP, skip_runs=1)
    now = DUE + timedelta(minutes=10)

    skipping = skipped(claim, now=now)
    assert skipping is not None
    assert skipping.next_run is not None
    assert skipping.scheduled_for is not None
    behind = replace(
        claim,
        scheduled_for=skipping.scheduled_for,
        next_run=skipping.next_run,
        skip_runs=0,
        last_outcome=skipping.last_outcome,
        last_finished_at=skipping.last_finished_at,
    )
    settlement = missed(behind, now=now, attendance=HERE)

    assert settlement is not None
    assert {row.reason for row in settlement.executions} == {"misfire"}
    assert too_soon(replace(behind, min_gap_seconds=3600.0), now=now) is None


@pytest.mark.parametrize(
    ("minute", "edited_at", "looks_since", "why"),
    [
        (0, DUE, None, "waited for a slot: instance one had none free"),
        (10, DUE, DUE - timedelta(hours=1), "waited for a slot or for its row"),
        (10, DUE + timedelta(minutes=9), DUE, "was held back: it was paused"),
        (10, DUE, DUE + timedelta(minutes=9), "nobody there: instance one came later, at 2026-11"),
        (10, DUE, None, "nobody there: instance one came later and found it due"),
    ],
)
def test_the_row_of_a_missed_run_says_what_it_waited_for(
    minute: int, edited_at: datetime, looks_since: datetime | None, why: str
) -> None:
    claim = some_claim(claimed_at=DUE + timedelta(minutes=minute), edited_at=edited_at)
    attendance = Attendance(instance="one", looks_since=looks_since)

    settlement = missed(claim, now=TEN_LATE, attendance=attendance)

    assert settlement is not None
    for row in settlement.executions:
        assert row.reason == "misfire"
        assert (row.error or "").startswith(why)
        assert (row.error or "").endswith("the grace of 60 s was over")


def test_a_retry_a_replay_and_a_run_now_are_never_too_late() -> None:
    old = DUE - timedelta(days=1)

    assert missed(some_claim(attempt=2), now=TEN_LATE, attendance=HERE) is None
    assert missed(some_claim(scheduled_for=old), now=TEN_LATE, attendance=HERE) is None
    run = UUID("019ab000-0000-7000-8000-000000000002")
    assert missed(some_claim(id=run, schedule=ONE_OFF), now=TEN_LATE, attendance=HERE) is None


def test_a_one_off_has_no_limit_unless_given_one() -> None:
    unlimited = some_claim(schedule=ONE_OFF)
    limited = some_claim(schedule=ONE_OFF, late=policy(Misfire.SKIP, grace=30))
    patient = some_claim(schedule=ONE_OFF, late=policy(Misfire.RUN_ONCE, grace=30))

    assert missed(unlimited, now=DUE + timedelta(days=365), attendance=HERE) is None
    assert missed(patient, now=TEN_LATE, attendance=HERE) is None
    settlement = missed(limited, now=TEN_LATE, attendance=HERE)
    assert settlement is not None
    assert settlement.next_run is None
    assert [row.outcome for row in settlement.executions] == [Outcome.MISSED]
