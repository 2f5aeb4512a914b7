"""The state machine of a job: how each way to close a claim changes the job."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from app.core.runs.claim import Claim, Execution, Settlement
from app.core.runs.outcome import OVERLAP, Outcome, Report
from app.core.runs.overlap import (
    Following,
    following,
    surely_superseded_at,
)
from app.core.runs.retry import backoff_seconds
from app.core.schedule.spread import PlannedRun, spread
from app.core.schedule.words import moment
from app.errors import InvalidInput

INT4_MAX = 2_147_483_647
"""The largest `consecutive_failures`, a column of type int4: the count stops there. A job that
fails ten times a second gets there in seven years."""
NOTHING = Following(None)
"""What follows the last run."""


def settled(  # noqa: PLR0913 - the facts of one execution, all of them needed
    claim: Claim,
    report: Report,
    *,
    started_at: datetime,
    finished_at: datetime,
    instance: str,
    jitter: float,
) -> Settlement:
    """Settle a claim that was executed: plan the next run, or another attempt of this run.

    Another attempt follows if the report allows one and `max_attempts` is not reached: after the
    backoff, which `jitter` in [0, 1) varies, or at once if the attempt was cancelled.

    Raises:
        ValueError: the report's outcome is `lost` or `missed`, which no executor may report.
    """
    execution = recorded(
        claim, report, started_at=started_at, finished_at=finished_at, instance=instance
    )
    again = report.retryable and claim.attempt < claim.retry.max_attempts
    match report.outcome:
        case Outcome.SUCCEEDED:
            return ended(claim, execution)
        case Outcome.CANCELLED if again:
            return retried(claim, execution, at=finished_at)
        case Outcome.FAILED | Outcome.TIMED_OUT if again:
            wait = backoff_seconds(claim.attempt, claim.retry, jitter=jitter)
            wait = max(wait, report.retry_after_seconds or 0.0)
            at = finished_at + timedelta(seconds=wait)
            due = surely_superseded_at(claim, now=started_at)
            if due is None or at < due:
                return retried(claim, execution, at=at)
            said = report.error or report.outcome
            error = f"{said}; no further attempt, as the next run comes due at {moment(due)}"
            return ended(claim, replace(execution, error=error))
        case Outcome.CANCELLED | Outcome.FAILED | Outcome.TIMED_OUT:
            return ended(claim, execution)
        case Outcome.LOST | Outcome.MISSED:
            message = f"an executor cannot report {report.outcome}"
            raise ValueError(message)
        case _:
            assert_never(report.outcome)


def recorded(
    claim: Claim,
    report: Report,
    *,
    started_at: datetime | None,
    finished_at: datetime,
    instance: str,
) -> Execution:
    """Return the row that records an attempt; `started_at` is None for one that never began."""
    # By position, as to pass on many names takes longer than all else of a settlement.
    # fmt: off
    return Execution(
        claim.job_id, claim.fence, claim.kind, claim.scheduled_for, report.outcome, finished_at,
        claim.execution_id, claim.run_id, claim.attempt, report.reason, started_at, instance,
        report.status_code, report.response, report.error,
    )
    # fmt: on


def invalid(claim: Claim, problem: str) -> Settlement:
    """Release a claim unexecuted and make the job invalid, with `problem` as its `plan_error`.

    The run stays due: once a person corrects the job, the run is claimed again.
    """
    return replace(released(claim), plan_error=problem)


def released(claim: Claim) -> Settlement:
    """Release a claim unexecuted: the lease ends, the attempt does not count."""
    return Settlement(
        id=claim.id,
        fence=claim.fence,
        claimed_at=claim.claimed_at,
        expected_next_run=claim.next_run,
        next_run=claim.next_run,
        scheduled_for=claim.scheduled_for,
        attempt=claim.attempt - 1,
        edit_seen_at=claim.edited_at,
        last_outcome=claim.last_outcome,
        last_finished_at=claim.last_finished_at,
        consecutive_failures=claim.consecutive_failures,
        runs=claim.runs,
        executions=[],
    )


def deferred(claim: Claim, *, until: datetime) -> Settlement:
    """Release a claim unexecuted; the same run is due again at `until`."""
    return replace(released(claim), next_run=until)


def retried(claim: Claim, execution: Execution, *, at: datetime) -> Settlement:
    """Record an attempt and plan another one of the same run at `at`."""
    return replace(
        released(claim),
        next_run=at,
        attempt=claim.attempt,
        last_outcome=execution.outcome,
        last_finished_at=execution.finished_at,
        executions=[execution],
    )


def ended(claim: Claim, execution: Execution) -> Settlement:
    """Record the last attempt of a run and plan the next run, if the schedule has one.

    A row that was written past the triggers can have a schedule that cannot be read. The outcome
    is recorded all the same, and `plan_error` keeps the job from being claimed until a person
    corrects the schedule.
    """
    after, run, plan_error = NOTHING, None, None
    if claim.schedule.run_at is None and not claim.is_last:
        try:
            after = following(claim, execution)
            run = planned(claim, after.occurrence)
        except InvalidInput as error:
            plan_error = str(error)
            run = PlannedRun(scheduled_for=claim.next_run, next_run=claim.next_run)
    failures = min(claim.consecutive_failures + 1, INT4_MAX)
    if execution.outcome is Outcome.SUCCEEDED:
        failures = 0
    elif execution.outcome is Outcome.CANCELLED and execution.reason == OVERLAP:
        failures = claim.consecutive_failures  # to cancel is no failure
    # fmt: off
    return Settlement(
        claim.id, claim.fence, claim.claimed_at, claim.next_run, claim.edited_at,
        run.scheduled_for if run else claim.scheduled_for, 0,
        execution.outcome, execution.finished_at, failures, claim.runs + 1,
        [*after.missed, execution], run.next_run if run else None, plan_error,
    )
    # fmt: on


def left_out(
    claim: Claim, missed: Sequence[Execution], *, occurrence: datetime | None, now: datetime
) -> Settlement:
    """Record the run of a claim, and perhaps runs after it, as missed, and plan the one after."""
    run = planned(claim, occurrence)
    return replace(
        released(claim),
        next_run=run.next_run if run else None,
        scheduled_for=run.scheduled_for if run else None,
        attempt=0,
        last_outcome=Outcome.MISSED,
        last_finished_at=claim.last_finished_at or now,
        executions=list(missed),
    )


def planned(claim: Claim, occurrence: datetime | None) -> PlannedRun | None:
    """Plan the run of a nominal instant, of the job of a claim."""
    if occurrence is None:
        return None
    return spread(claim.schedule, occurrence, job_id=claim.job_id)
