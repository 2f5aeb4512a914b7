"""How each way to close a claim changes the job."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.core.runs.claim import Claim, Settlement
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import invalid, released, settled
from app.core.runs.unexecuted import exhausted
from app.core.schedule.schedule import Schedule
from tests.support.claims import DUE, ONE_OFF, some_claim

STARTED = DUE + timedelta(milliseconds=2)
FINISHED = DUE + timedelta(seconds=1)
NEXT_MINUTE = DUE + timedelta(minutes=1)


def closed(claim: Claim, outcome: Outcome, **report: object) -> Settlement:
    return settled(
        claim,
        Report(outcome=outcome, **report),  # type: ignore[arg-type]
        started_at=STARTED,
        finished_at=FINISHED,
        instance="host:1:abcd",
        jitter=0.5,
    )


def test_success_plans_the_next_run_after_the_scheduled_one_not_after_now() -> None:
    settlement = closed(some_claim(consecutive_failures=4, runs=9), Outcome.SUCCEEDED)

    assert settlement.next_run == settlement.scheduled_for == NEXT_MINUTE
    assert (settlement.attempt, settlement.runs, settlement.consecutive_failures) == (0, 10, 0)
    assert settlement.last_outcome is Outcome.SUCCEEDED
    assert settlement.last_finished_at == FINISHED


def test_the_execution_is_recorded_whole() -> None:
    settlement = closed(
        some_claim(), Outcome.FAILED, reason="status", status_code=500, response="no", error="500"
    )

    [execution] = settlement.executions
    assert (execution.id, execution.fence, execution.attempt) == (70, 7, 1)
    assert (execution.started_at, execution.finished_at) == (STARTED, FINISHED)
    assert (execution.reason, execution.status_code) == ("status", 500)
    assert (execution.response, execution.error, execution.instance) == ("no", "500", "host:1:abcd")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
def test_a_failure_is_retried_after_the_backoff_as_the_same_run(outcome: Outcome) -> None:
    settlement = closed(some_claim(attempt=2), outcome)

    assert settlement.next_run == FINISHED + timedelta(seconds=20)
    assert (settlement.scheduled_for, settlement.attempt) == (DUE, 2)
    assert (settlement.runs, settlement.consecutive_failures) == (0, 0)
    assert settlement.last_outcome is outcome


def test_retry_after_is_honoured_when_it_is_longer_than_the_backoff() -> None:
    longer = closed(some_claim(), Outcome.FAILED, retry_after_seconds=100.0)
    shorter = closed(some_claim(), Outcome.FAILED, retry_after_seconds=1.0)

    assert longer.next_run == FINISHED + timedelta(seconds=100)
    assert shorter.next_run == FINISHED + timedelta(seconds=10)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED])
def test_the_last_attempt_ends_the_run(outcome: Outcome) -> None:
    settlement = closed(some_claim(attempt=3, consecutive_failures=1), outcome)

    assert settlement.next_run == NEXT_MINUTE
    assert (settlement.attempt, settlement.runs, settlement.consecutive_failures) == (0, 1, 2)


def test_a_failure_that_no_retry_can_mend_ends_the_run_at_once() -> None:
    settlement = closed(some_claim(), Outcome.FAILED, retryable=False)

    assert (settlement.next_run, settlement.runs) == (NEXT_MINUTE, 1)


def test_a_cancelled_attempt_is_due_again_at_once() -> None:
    settlement = closed(some_claim(), Outcome.CANCELLED, reason="drain")

    assert (settlement.next_run, settlement.scheduled_for) == (FINISHED, DUE)
    assert settlement.attempt == 1


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.MISSED])
def test_no_executor_may_report_what_only_the_scheduler_knows(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match=outcome):
        closed(some_claim(), outcome)


def test_a_one_off_is_finished_by_its_run() -> None:
    settlement = closed(some_claim(schedule=ONE_OFF), Outcome.SUCCEEDED)

    assert (settlement.next_run, settlement.scheduled_for) == (None, DUE)


def test_the_last_of_max_runs_finishes_the_job() -> None:
    before = closed(some_claim(max_runs=3, runs=1), Outcome.SUCCEEDED)
    last = closed(some_claim(max_runs=3, runs=2), Outcome.SUCCEEDED)

    assert (before.next_run, last.next_run) == (NEXT_MINUTE, None)


RUN = UUID("019ab000-0000-7000-8000-000000000002")


@pytest.mark.parametrize("due_at", [DUE, DUE + timedelta(hours=5)])
def test_a_run_beside_the_plan_leads_to_no_other_run(due_at: datetime) -> None:
    claim = some_claim(id=RUN, schedule=ONE_OFF, next_run=due_at)

    settlement = closed(claim, Outcome.SUCCEEDED)

    assert (settlement.next_run, settlement.scheduled_for, settlement.attempt) == (None, DUE, 0)
    assert settlement.id == RUN


def test_what_comes_of_a_run_beside_the_plan_is_on_record_for_its_job() -> None:
    claim = some_claim(id=RUN, schedule=ONE_OFF)

    [execution] = closed(claim, Outcome.FAILED).executions

    assert (execution.job_id, execution.run_id) == (claim.job_id, RUN)
    [planned] = closed(some_claim(), Outcome.FAILED).executions
    assert planned.run_id is None


def test_a_retry_of_a_run_beside_the_plan_keeps_its_identity() -> None:
    settlement = closed(some_claim(id=RUN, schedule=ONE_OFF), Outcome.FAILED)

    assert (settlement.attempt, settlement.scheduled_for) == (1, DUE)
    assert settlement.next_run not in (DUE, None)


def test_attempts_lost_one_after_the_other_are_given_up() -> None:
    assert exhausted(some_claim(attempt=3), now=FINISHED, instance="i") is None

    settlement = exhausted(some_claim(attempt=4), now=FINISHED, instance="i")

    assert settlement is not None
    [execution] = settlement.executions
    assert (execution.outcome, execution.reason, execution.attempt) == (Outcome.FAILED, "lost", 3)
    assert "3 of 3 attempts" in (execution.error or "")
    assert (settlement.next_run, settlement.consecutive_failures) == (NEXT_MINUTE, 1)


def test_a_job_that_cannot_be_executed_stays_due_and_says_why() -> None:
    settlement = invalid(some_claim(), "target.url: is missing")

    assert settlement.plan_error == "target.url: is missing"
    assert (settlement.next_run, settlement.attempt) == (DUE, 0)
    assert settlement.executions == []


def test_a_run_counts_although_its_schedule_cannot_be_read() -> None:
    settlement = closed(some_claim(schedule=Schedule(cron="99 99 * * *")), Outcome.SUCCEEDED)

    assert settlement.plan_error is not None
    assert "cron" in settlement.plan_error
    assert [one.outcome for one in settlement.executions] == [Outcome.SUCCEEDED]
    assert settlement.runs == 1


def test_a_claim_given_back_changes_nothing() -> None:
    last: datetime = DUE - timedelta(days=1)
    claim = some_claim(attempt=2, last_outcome=Outcome.FAILED, last_finished_at=last, runs=5)

    settlement = released(claim)

    assert (settlement.next_run, settlement.scheduled_for) == (DUE, DUE)
    assert (settlement.attempt, settlement.runs) == (1, 5)
    assert (settlement.last_outcome, settlement.last_finished_at) == (Outcome.FAILED, last)
