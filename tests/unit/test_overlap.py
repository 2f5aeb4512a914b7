"""What becomes of runs that come due while the run before them is unfinished."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.core.runs.claim import Misfire, MisfirePolicy, Overlap, Settlement
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome, Report
from app.core.runs.overlap import superseded_at
from app.core.runs.transition import settled
from app.core.runs.unexecuted import exhausted, overlapped, superseded
from app.core.schedule.schedule import Schedule
from app.scheduler.endings import Ending
from tests.support.claims import DUE, ONE_OFF, some_claim

MINUTE = timedelta(minutes=1)
HERE = Attendance(instance="one", looks_since=DUE)
OTHERS = [Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER]
RUN_ALL = MisfirePolicy(misfire=Misfire.RUN_ALL, grace_seconds=None, max_catchup=100)


def ended(
    minutes: float,
    *,
    outcome: Outcome = Outcome.SUCCEEDED,
    started_at: datetime = DUE,
    **claim: Any,  # noqa: ANN401
) -> Settlement:
    """Settle the run of 12:00 of a minutely job, which ended so many minutes later."""
    return settled(
        some_claim(**claim),
        Report(outcome=outcome),
        started_at=started_at,
        finished_at=DUE + minutes * MINUTE,
        instance="one",
        jitter=0.5,
    )


def missed_in(settlement: Settlement) -> list[tuple[int, str | None]]:
    """Return the missed runs, in minutes after 12:00, and why."""
    return [
        ((one.scheduled_for - DUE) // MINUTE, one.reason)
        for one in settlement.executions
        if one.outcome is Outcome.MISSED
    ]


def test_skip_misses_every_run_that_came_due_meanwhile() -> None:
    settlement = ended(3.5, overlap=Overlap.SKIP)

    assert settlement.next_run == settlement.scheduled_for == DUE + 4 * MINUTE
    assert missed_in(settlement) == [(1, "overlap"), (2, "overlap"), (3, "overlap")]
    assert (settlement.last_outcome, settlement.runs) == (Outcome.SUCCEEDED, 1)


def test_buffer_one_carries_out_the_latest_of_them_and_misses_the_others() -> None:
    settlement = ended(3.5, overlap=Overlap.BUFFER_ONE)

    assert settlement.next_run == DUE + 3 * MINUTE
    assert missed_in(settlement) == [(1, "overlap"), (2, "overlap")]


def test_buffer_one_misses_none_where_one_came_due() -> None:
    settlement = ended(1.5, overlap=Overlap.BUFFER_ONE)

    assert settlement.next_run == DUE + MINUTE
    assert missed_in(settlement) == []


def test_buffer_all_lets_each_wait_its_turn() -> None:
    settlement = ended(3.5)

    assert settlement.next_run == DUE + MINUTE
    assert missed_in(settlement) == []


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_run_that_ends_in_time_overlaps_with_none(overlap: Overlap) -> None:
    settlement = ended(0.99, overlap=overlap)

    assert settlement.next_run == DUE + MINUTE
    assert missed_in(settlement) == []


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER])
def test_the_row_names_the_run_that_ran_too_long(overlap: Overlap) -> None:
    [row, *_] = ended(3.5, overlap=overlap).executions

    assert row.error == (
        "ran too long: the run of 2026-11-24 12:00 UTC was unfinished until "
        f"2026-11-24 12:03:30 UTC, and overlap is {overlap}"
    )


def test_the_row_names_the_run_that_had_to_wait_before_it_began() -> None:
    started_at = DUE + 3 * MINUTE
    first, last = ended(3.5, overlap=Overlap.SKIP, started_at=started_at).executions[:3:2]
    [retried, *_] = ended(3.5, overlap=Overlap.SKIP, started_at=started_at, attempt=2).executions

    assert (
        first.error
        == last.error
        == (
            "started late: the run of 2026-11-24 12:00 UTC began at 2026-11-24 12:03 UTC, and was "
            "unfinished until 2026-11-24 12:03:30 UTC, and overlap is skip"
        )
    )
    assert (retried.error or "").startswith("ran too long: ")


def test_the_execution_itself_is_the_last_record_of_a_settlement() -> None:
    assert ended(3.5, overlap=Overlap.SKIP).executions[-1].outcome is Outcome.SUCCEEDED


def test_a_run_holds_its_place_through_its_retries() -> None:
    first = ended(1.5, overlap=Overlap.SKIP, outcome=Outcome.FAILED)
    last = ended(
        5.5,
        overlap=Overlap.SKIP,
        outcome=Outcome.FAILED,
        attempt=3,
        started_at=DUE + 5 * MINUTE,
        next_run=DUE + 5 * MINUTE,
    )

    assert (first.scheduled_for, missed_in(first)) == (DUE, [])
    assert last.next_run == DUE + 6 * MINUTE
    assert [minute for minute, _ in missed_in(last)] == [1, 2, 3, 4, 5]


def test_a_run_whose_last_attempt_was_lost_held_its_place_as_well() -> None:
    claim = some_claim(overlap=Overlap.SKIP, attempt=4)

    settlement = exhausted(claim, now=DUE + 2.5 * MINUTE, instance="two")

    assert settlement is not None
    assert missed_in(settlement) == [(1, "overlap"), (2, "overlap")]


def test_a_late_run_is_unfinished_before_it_starts() -> None:
    settlement = ended(5.5, overlap=Overlap.SKIP, started_at=DUE + 5 * MINUTE)

    assert settlement.next_run == DUE + 6 * MINUTE


def test_run_all_makes_up_for_late_runs_whatever_overlap_says() -> None:
    settlement = ended(5.5, overlap=Overlap.SKIP, started_at=DUE + 5 * MINUTE, late=RUN_ALL)

    assert settlement.next_run == DUE + MINUTE
    assert missed_in(settlement) == []


def test_the_last_run_of_a_job_and_a_one_off_have_none_behind_them() -> None:
    for claim in ({"max_runs": 1}, {"schedule": ONE_OFF}):
        settlement = ended(3.5, overlap=Overlap.SKIP, **claim)

        assert settlement.next_run is None
        assert missed_in(settlement) == []


def test_runs_after_the_end_of_the_window_are_not_missed() -> None:
    schedule = Schedule(cron="* * * * *", ends_at=DUE + 2 * MINUTE)

    settlement = ended(3.5, overlap=Overlap.SKIP, schedule=schedule)

    assert settlement.next_run is None
    assert missed_in(settlement) == [(1, "overlap"), (2, "overlap")]


def test_thousands_of_them_share_one_row() -> None:
    settlement = ended(60, overlap=Overlap.BUFFER_ONE, schedule=Schedule(every_seconds=1))

    [row, _] = settlement.executions
    assert (row.missed_runs, row.scheduled_for) == (3599, DUE + timedelta(seconds=1))
    assert row.missed_until == DUE + timedelta(seconds=3599)
    assert settlement.next_run == DUE + timedelta(seconds=3600)


@pytest.mark.parametrize("overlap", OTHERS)
def test_waiting_for_the_run_before_makes_no_run_too_late(overlap: Overlap) -> None:
    """As after a run now that took five minutes: it is no run of the plan."""
    claim = some_claim(
        overlap=overlap,
        claimed_at=DUE + 5 * MINUTE,
        last_finished_at=DUE + 5 * MINUTE,
        late=MisfirePolicy(misfire=Misfire.SKIP, grace_seconds=None, max_catchup=100),
    )

    assert missed(claim, now=DUE + 5.5 * MINUTE, attendance=HERE) is None
    assert missed(claim, now=DUE + 6.5 * MINUTE, attendance=HERE) is not None


def test_what_came_due_before_a_cancellation_is_judged_when_it_is_claimed() -> None:
    cancelled: dict[str, Any] = {
        "last_outcome": Outcome.CANCELLED,
        "last_finished_at": DUE + 2.5 * MINUTE,
    }
    now = DUE + 3 * MINUTE

    skipped = overlapped(some_claim(overlap=Overlap.SKIP, **cancelled), now=now)
    buffered = overlapped(some_claim(overlap=Overlap.BUFFER_ONE, **cancelled), now=now)

    assert skipped is not None
    assert (skipped.next_run, missed_in(skipped)) == (
        DUE + 3 * MINUTE,
        [(0, "overlap"), (1, "overlap"), (2, "overlap")],
    )
    assert buffered is not None
    assert (buffered.next_run, missed_in(buffered)) == (
        DUE + 2 * MINUTE,
        [(0, "overlap"), (1, "overlap")],
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap": Overlap.BUFFER_ALL},
        {"last_outcome": Outcome.SUCCEEDED},
        {"last_finished_at": DUE - MINUTE},
        {"attempt": 2},
        {"next_run": DUE + MINUTE},
        {"schedule": ONE_OFF},
    ],
)
def test_nothing_else_is_left_out_at_its_claim(changes: dict[str, Any]) -> None:
    cancelled = {
        "overlap": Overlap.SKIP,
        "last_outcome": Outcome.CANCELLED,
        "last_finished_at": DUE + 2.5 * MINUTE,
    }

    assert overlapped(some_claim(**(cancelled | changes)), now=DUE + 3 * MINUTE) is None


CANCELS: dict[str, Any] = {"overlap": Overlap.CANCEL_OTHER}


def test_the_next_run_that_comes_due_cancels_the_one_under_way() -> None:
    claim = some_claim(**CANCELS)

    assert superseded_at(claim, now=DUE) == DUE + MINUTE
    assert superseded(claim, now=DUE + 0.99 * MINUTE, instance="one") is None
    for no_other in ({"max_runs": 1}, {"schedule": ONE_OFF}, {"overlap": Overlap.SKIP}):
        assert superseded_at(some_claim(**(CANCELS | no_other)), now=DUE) is None


def test_a_run_that_is_cut_off_is_cancelled_for_overlap_and_no_failure() -> None:
    settlement = settled(
        some_claim(**CANCELS, consecutive_failures=2),
        Ending.OVERLAP.report(timeout_seconds=30),
        started_at=DUE,
        finished_at=DUE + MINUTE,
        instance="one",
        jitter=0.5,
    )

    [row] = settlement.executions
    assert (row.outcome, row.reason) == (Outcome.CANCELLED, "overlap")
    assert settlement.next_run == DUE + MINUTE
    assert (settlement.attempt, settlement.runs, settlement.consecutive_failures) == (0, 1, 2)
    after = some_claim(
        **CANCELS,
        next_run=DUE + MINUTE,
        scheduled_for=DUE + MINUTE,
        last_outcome=settlement.last_outcome,
        last_finished_at=DUE + MINUTE + timedelta(milliseconds=3),
    )
    assert overlapped(after, now=DUE + MINUTE + timedelta(milliseconds=9)) is None


def test_an_attempt_that_fails_is_followed_by_none_that_the_next_run_would_cancel() -> None:
    soon = ended(0.5, outcome=Outcome.FAILED, **CANCELS)
    late = ended(0.9, outcome=Outcome.FAILED, **CANCELS)

    assert (soon.scheduled_for, soon.attempt) == (DUE, 1)
    assert (late.next_run, late.attempt) == (DUE + MINUTE, 0)
    [row] = late.executions
    assert row.outcome is Outcome.FAILED
    assert (row.error or "").endswith("as the next run comes due at 2026-11-24 12:01 UTC")


def test_a_run_that_never_started_before_the_next_came_due_is_missed() -> None:
    settlement = superseded(some_claim(**CANCELS), now=DUE + 2.5 * MINUTE, instance="one")

    assert settlement is not None
    assert settlement.next_run == DUE + 2 * MINUTE
    assert missed_in(settlement) == [(0, "overlap"), (1, "overlap")]


def test_a_run_whose_instance_was_lost_is_cancelled_once_the_next_is_due() -> None:
    claim = some_claim(**CANCELS, attempt=2)

    settlement = superseded(claim, now=DUE + 2.5 * MINUTE, instance="two")

    assert settlement is not None
    [missed_row, row] = settlement.executions
    assert (row.id, row.attempt, row.outcome) == (claim.execution_id, 2, Outcome.CANCELLED)
    assert (row.reason, row.started_at) == ("overlap", None)
    assert missed_row.scheduled_for == DUE + MINUTE
    assert settlement.next_run == DUE + 2 * MINUTE


def test_run_all_cancels_no_late_run() -> None:
    claim = some_claim(**CANCELS, late=RUN_ALL)

    assert superseded_at(claim, now=DUE + 5 * MINUTE) is None
    assert superseded_at(claim, now=DUE) == DUE + MINUTE


def test_a_run_that_is_skipped_cancels_none() -> None:
    some = some_claim(**CANCELS, skip_runs=2)
    until = some_claim(**CANCELS, skip_until=DUE + 5 * MINUTE)
    past = some_claim(**CANCELS, skip_until=DUE)

    assert superseded_at(some, now=DUE) == DUE + 3 * MINUTE
    assert superseded_at(until, now=DUE) == DUE + 5 * MINUTE
    assert superseded_at(past, now=DUE) == DUE + MINUTE
