"""Whether the ping that a check expects has come, and what becomes of the job."""

from datetime import datetime, timedelta

import pytest

from app.core.runs.claim import Misfire, Missed, Settlement
from app.core.runs.expectation import Pings, judged
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import Schedule
from tests.support.claims import DUE, some_claim

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
HOURLY = Schedule(cron="0 * * * *")
EACH_HOUR = Schedule(every_seconds=3600)
GRACE = 300.0
NEVER = Pings()


def judge(
    pings: Pings = NEVER, *, now: datetime = DUE, schedule: Schedule = HOURLY, **of_claim: object
) -> Settlement:
    claim = some_claim(kind="check", schedule=schedule, claimed_at=now, **of_claim)
    return judged(claim, pings, grace_seconds=GRACE, now=now)


def test_the_schedule_of_these_tests_has_the_instant() -> None:
    assert (DUE.minute, DUE.second, DUE.microsecond) == (0, 0, 0)


def test_a_ping_that_is_due_is_waited_for_until_the_grace_is_over() -> None:
    settlement = judge()

    assert settlement.next_run == DUE + 5 * MINUTE
    assert (settlement.scheduled_for, settlement.attempt) == (DUE, 0)
    assert settlement.executions == []


@pytest.mark.parametrize("schedule", [HOURLY, EACH_HOUR])
def test_a_ping_that_did_not_come_is_missed_and_counts_as_a_failure(schedule: Schedule) -> None:
    settlement = judge(
        Pings(ended_at=DUE - HOUR), now=DUE + 5 * MINUTE, schedule=schedule, consecutive_failures=2
    )

    [row] = settlement.executions
    assert (row.outcome, row.reason, row.scheduled_for) == (Outcome.MISSED, "missed", DUE)
    assert row.error == "no ping came within the grace of 300 s"
    assert (settlement.last_outcome, settlement.consecutive_failures) == (Outcome.MISSED, 3)
    assert settlement.next_run == DUE + HOUR


@pytest.mark.parametrize("came", [-29 * SECOND, timedelta(), 4 * MINUTE])
def test_a_ping_meets_the_run_of_its_instant_even_a_little_early(came: timedelta) -> None:
    settlement = judge(Pings(ended_at=DUE + came), now=DUE + 5 * MINUTE)

    assert (settlement.next_run, settlement.executions) == (DUE + HOUR, [])


@pytest.mark.parametrize("schedule", [HOURLY, EACH_HOUR])
@pytest.mark.parametrize("began", [DUE + 60 * 24 * HOUR, None])
def test_a_ping_of_a_time_to_come_makes_no_check_content_until_then(
    schedule: Schedule, began: datetime | None
) -> None:
    ahead = DUE + 60 * 24 * HOUR  # of a clock that was ahead, and is right again
    pings = Pings(started_at=began, ended_at=None if began else ahead)

    missed = judge(pings, now=DUE + 5 * MINUTE, schedule=schedule, last_finished_at=ahead)
    since = Pings(started_at=DUE + MINUTE, ended_at=ahead)
    waited = judge(since, now=DUE + 5 * MINUTE, schedule=schedule, last_finished_at=ahead)

    assert (missed.last_outcome, missed.next_run) == (Outcome.MISSED, DUE + HOUR)
    assert waited.next_run == DUE + 6 * MINUTE


def test_a_ping_long_before_an_instant_is_no_ping_for_it() -> None:
    pings = Pings(ended_at=DUE - 31 * SECOND)

    assert judge(pings).next_run == DUE + 5 * MINUTE
    assert judge(pings, now=DUE + 5 * MINUTE).last_outcome is Outcome.MISSED


@pytest.mark.parametrize("came", [-HOUR + SECOND, -MINUTE, 2 * MINUTE])
def test_an_interval_counts_from_ping_to_ping(came: timedelta) -> None:
    settlement = judge(Pings(ended_at=DUE + came), now=DUE + 5 * MINUTE, schedule=EACH_HOUR)

    assert (settlement.next_run, settlement.executions) == (DUE + came + HOUR, [])


def test_an_interval_from_an_instant_on_expects_pings_at_its_instants() -> None:
    schedule = Schedule(every_seconds=3600, starts_at=DUE - 10 * HOUR)

    came = Pings(ended_at=DUE + MINUTE)
    assert judge(came, now=DUE + MINUTE, schedule=schedule).next_run == DUE + HOUR
    assert judge(Pings(ended_at=DUE - MINUTE), schedule=schedule).next_run == DUE + 5 * MINUTE


def test_a_one_off_expects_one_ping() -> None:
    once = Schedule(run_at=DUE)

    came = Pings(ended_at=DUE + MINUTE)
    assert judge(came, now=DUE + MINUTE, schedule=once).next_run is None
    assert judge(schedule=once).next_run == DUE + 5 * MINUTE
    missed = judge(schedule=once, now=DUE + HOUR)
    assert (missed.next_run, missed.last_outcome) == (None, Outcome.MISSED)


def test_what_has_begun_has_the_grace_from_then_on() -> None:
    begun = Pings(started_at=DUE + 4 * MINUTE, ended_at=DUE - HOUR)

    assert judge(begun, now=DUE + 5 * MINUTE).next_run == DUE + 9 * MINUTE
    settlement = judge(begun, now=DUE + 9 * MINUTE)
    [row] = settlement.executions
    assert (row.outcome, row.reason) == (Outcome.TIMED_OUT, "timeout")
    assert (row.started_at, row.finished_at) == (DUE + 4 * MINUTE, DUE + 9 * MINUTE)
    assert (settlement.next_run, settlement.consecutive_failures) == (DUE + HOUR, 1)


def test_what_was_given_up_is_not_given_up_again() -> None:
    begun = Pings(started_at=DUE - HOUR + MINUTE)

    settlement = judge(begun, now=DUE + 5 * MINUTE, last_finished_at=DUE - HOUR + 6 * MINUTE)

    assert settlement.last_outcome is Outcome.MISSED


def test_pings_that_all_instances_were_too_late_to_judge_are_missed_each() -> None:
    settlement = judge(now=DUE + 3 * HOUR + MINUTE)

    assert [row.scheduled_for for row in settlement.executions] == [
        DUE,
        DUE + HOUR,
        DUE + 2 * HOUR,
    ]
    assert (settlement.next_run, settlement.consecutive_failures) == (DUE + 3 * HOUR, 3)


def test_after_an_outage_of_instances_the_latest_ping_counts() -> None:
    settlement = judge(Pings(ended_at=DUE + 2 * HOUR + MINUTE), now=DUE + 2 * HOUR + 2 * MINUTE)

    assert (settlement.next_run, settlement.executions) == (DUE + 3 * HOUR, [])


def test_what_was_due_while_the_job_was_paused_is_no_alarm() -> None:
    settlement = judge(now=DUE + 2.5 * HOUR, edited_at=DUE + 2.4 * HOUR)

    assert {row.reason for row in settlement.executions} == {"paused"}
    assert (settlement.next_run, settlement.consecutive_failures) == (DUE + 3 * HOUR, 0)


@pytest.mark.parametrize("missed", Missed)
def test_a_resumption_decides_what_is_recorded_and_raises_no_alarm(missed: Missed) -> None:
    resumed_at = DUE + 2.4 * HOUR

    settlement = judge(
        now=DUE + 2.5 * HOUR, edited_at=resumed_at, resumed_at=resumed_at, resume_missed=missed
    )

    assert {row.reason for row in settlement.executions} == {"paused"}
    assert settlement.consecutive_failures == 0


def test_a_run_that_a_person_skips_expects_no_ping() -> None:
    settlement = judge(skip_runs=1)

    assert [row.reason for row in settlement.executions] == ["skipped"]
    assert settlement.next_run == DUE + HOUR


@pytest.mark.parametrize("misfire", Misfire)
def test_the_misfire_policy_excuses_no_ping(misfire: Misfire) -> None:
    claim = some_claim(kind="check", schedule=HOURLY)
    late = type(claim.late)(misfire=misfire, grace_seconds=0, max_catchup=5)

    settlement = judge(now=DUE + 6 * MINUTE, late=late)

    assert [row.reason for row in settlement.executions] == ["missed"]


@pytest.mark.parametrize("pings", [NEVER, Pings(ended_at=DUE + MINUTE)])
def test_after_the_last_of_its_runs_a_check_expects_nothing(pings: Pings) -> None:
    assert judge(pings, now=DUE + 5 * MINUTE, runs=3, max_runs=3).next_run is None


def test_nothing_is_expected_after_the_end_of_the_schedule() -> None:
    schedule = Schedule(cron="0 * * * *", ends_at=DUE + MINUTE)

    assert judge(Pings(ended_at=DUE + SECOND), schedule=schedule).next_run is None
    assert judge(now=DUE + 5 * MINUTE, schedule=schedule).next_run is None


def test_a_grace_that_is_longer_than_the_interval_judges_each_run_in_its_turn() -> None:
    schedule = Schedule(cron="* * * * *")
    settlement = judge(now=DUE + 5 * MINUTE, schedule=schedule)

    assert len(settlement.executions) == 1
    assert settlement.next_run == DUE + MINUTE
