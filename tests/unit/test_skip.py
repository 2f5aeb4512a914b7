"""Which runs are dropped for being skipped, and what is left to skip."""

from datetime import timedelta
from uuid import UUID

import pytest

from app.core.runs.outcome import Outcome
from app.core.runs.skip import skipped
from app.core.schedule.schedule import Schedule
from tests.support.claims import DUE, ONE_OFF, some_claim

MINUTE = timedelta(minutes=1)


def test_a_claim_of_which_nothing_is_skipped_is_carried_out() -> None:
    assert skipped(some_claim(), now=DUE) is None
    assert skipped(some_claim(skip_until=DUE), now=DUE) is None


def test_a_skipped_run_is_on_record_and_the_next_one_planned() -> None:
    settlement = skipped(some_claim(skip_runs=3), now=DUE)

    assert settlement is not None
    [row] = settlement.executions
    assert (row.outcome, row.reason) == (Outcome.MISSED, "skipped")
    assert (row.scheduled_for, row.missed_runs) == (DUE, 1)
    assert (settlement.next_run, settlement.attempt) == (DUE + MINUTE, 0)
    assert (settlement.skip_runs, settlement.runs, settlement.consecutive_failures) == (2, 0, 0)


def test_a_claim_a_moment_ahead_of_its_instant_is_skipped_as_well() -> None:
    settlement = skipped(some_claim(skip_runs=1), now=DUE - timedelta(milliseconds=1))

    assert settlement is not None
    assert (len(settlement.executions), settlement.skip_runs) == (1, 0)


@pytest.mark.parametrize(("runs", "left"), [(2, 0), (4, 0), (5, 1), (9, 5)])
def test_of_runs_that_are_late_as_many_are_skipped_as_were_to_be(runs: int, left: int) -> None:
    settlement = skipped(some_claim(skip_runs=runs), now=DUE + 3.5 * MINUTE)

    assert settlement is not None
    assert len(settlement.executions) == runs - left
    assert settlement.next_run == DUE + (runs - left) * MINUTE
    assert settlement.skip_runs == left


def test_all_runs_before_the_instant_are_skipped_and_that_of_the_instant_is_not() -> None:
    until = DUE + 3 * MINUTE

    settlement = skipped(some_claim(skip_until=until), now=DUE + 10 * MINUTE)

    assert settlement is not None
    assert (len(settlement.executions), settlement.next_run) == (3, until)
    assert settlement.skip_runs is None, "that of the row is left alone"
    assert (
        skipped(some_claim(next_run=until, scheduled_for=until, skip_until=until), now=until)
        is None
    )


def test_runs_that_are_not_due_yet_are_not_on_record_before_their_time() -> None:
    settlement = skipped(some_claim(skip_until=DUE + 60 * MINUTE), now=DUE + 1.5 * MINUTE)

    assert settlement is not None
    assert settlement.next_run == DUE + 2 * MINUTE


def test_a_run_that_has_begun_goes_on_with_its_retries() -> None:
    assert skipped(some_claim(attempt=2, skip_runs=1), now=DUE) is None


def test_a_run_beside_the_plan_is_carried_out() -> None:
    run = some_claim(id=UUID(int=5), job_id=UUID(int=4), skip_runs=1, skip_until=DUE + MINUTE)

    assert skipped(run, now=DUE) is None


def test_a_one_off_that_is_skipped_is_over() -> None:
    settlement = skipped(some_claim(schedule=ONE_OFF, skip_runs=1), now=DUE)

    assert settlement is not None
    assert (settlement.next_run, settlement.last_outcome) == (None, Outcome.MISSED)
    assert len(settlement.executions) == 1


def test_a_deferred_run_that_has_not_begun_is_skipped() -> None:
    later = DUE + timedelta(seconds=20)

    settlement = skipped(some_claim(next_run=later, skip_runs=1), now=later)

    assert settlement is not None
    assert [row.scheduled_for for row in settlement.executions] == [DUE]


def test_very_many_late_runs_are_one_row_and_counted_without_walking_over_them() -> None:
    often = Schedule(every_seconds=0.1)
    now = DUE + timedelta(days=300)

    settlement = skipped(some_claim(schedule=often, skip_until=now), now=now)

    assert settlement is not None
    [row] = settlement.executions
    assert (row.missed_runs, row.reason) == (1_000_000, "skipped")
