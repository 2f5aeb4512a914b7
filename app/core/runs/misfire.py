"""What becomes of runs that no instance could start within the grace: the misfire policies."""

from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from app.core.runs.claim import Claim, Execution, Misfire, Settlement
from app.core.runs.outcome import Outcome
from app.core.runs.transition import released
from app.core.schedule.schedule import count_runs, latest_run, run_after

RECURRING_GRACE_SECONDS = 60.0
"""The grace of a recurring job that sets none."""
MISSED_ROWS = 100
"""Up to this many missed runs get an execution each; more share one execution."""
COUNTED_RUNS = 1_000_000
"""Counting missed runs stops here, to bound the time: twelve days of an every-second cron."""


def missed(claim: Claim, *, now: datetime) -> Settlement | None:
    """Settle a claim whose run comes too late; return None for a run to carry out.

    Only the first attempt of a planned run can come too late: a retry, a replay and a run now
    are wanted whenever they start. (The latter two are one-offs without a grace.) The settlement
    records each dropped run and plans the first run that is kept.
    """
    grace = claim.late.grace_seconds
    if grace is None and claim.schedule.run_at is None:
        grace = RECURRING_GRACE_SECONDS
    planned_first = claim.attempt == 1 and claim.next_run == claim.scheduled_for
    if grace is None or not planned_first:
        return None
    too_late = now - timedelta(seconds=grace, microseconds=1)
    if claim.scheduled_for > too_late:
        return None
    if claim.schedule.run_at is not None:
        skip = claim.late.misfire is Misfire.SKIP
        return dropped(claim, until=claim.scheduled_for, now=now) if skip else None
    last = (
        latest_run(claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=too_late)
        or claim.scheduled_for
    )
    match claim.late.misfire:
        case Misfire.SKIP:
            return dropped(claim, until=last, now=now)
        case Misfire.RUN_ONCE:
            return dropped_before(claim, last, now=now)
        case Misfire.RUN_ALL:
            return dropped_before(claim, oldest_caught_up(claim, last), now=now)
        case _:
            assert_never(claim.late.misfire)


def oldest_caught_up(claim: Claim, last: datetime) -> datetime:
    """Return the earliest of the last `max_catchup` runs up to `last`.

    Where `max_catchup` is 0, the instant returned is one microsecond after `last`.
    """
    oldest = last + timedelta(microseconds=1)
    for _ in range(claim.late.max_catchup):
        earlier = latest_run(
            claim.schedule,
            job_id=claim.job_id,
            after=claim.scheduled_for,
            until=oldest - timedelta(microseconds=1),
        )
        if earlier is None:
            break
        oldest = earlier
    return oldest


def dropped_before(claim: Claim, kept: datetime, *, now: datetime) -> Settlement | None:
    """Settle a claim by dropping its runs before `kept`; return None if there are none."""
    if kept <= claim.scheduled_for:
        return None
    until = latest_run(
        claim.schedule,
        job_id=claim.job_id,
        after=claim.scheduled_for,
        until=kept - timedelta(microseconds=1),
    )
    return dropped(claim, until=until or claim.scheduled_for, now=now)


def dropped(claim: Claim, *, until: datetime, now: datetime) -> Settlement:
    """Settle a claim by dropping its runs from `scheduled_for` to `until`, both included."""
    next_planned_run = run_after(claim.schedule, until, job_id=claim.job_id)
    return replace(
        released(claim),
        next_run=next_planned_run,
        scheduled_for=next_planned_run,
        attempt=0,
        last_outcome=Outcome.MISSED,
        last_finished_at=claim.last_finished_at or now,
        executions=missed_executions(claim, until=until, now=now),
    )


def missed_executions(claim: Claim, *, until: datetime, now: datetime) -> list[Execution]:
    """Record the runs from `scheduled_for` to `until`: one row each, or one row for too many."""
    overlapped = claim.last_finished_at is not None and claim.last_finished_at > claim.scheduled_for
    row = Execution(
        job_id=claim.job_id,
        run_id=claim.run_id,
        fence=claim.fence,
        kind=claim.kind,
        scheduled_for=claim.scheduled_for,
        outcome=Outcome.MISSED,
        reason="overlap" if overlapped else "misfire",
        finished_at=now,
        missed_runs=1,
        missed_until=until,
    )
    count = count_runs(
        claim.schedule,
        job_id=claim.job_id,
        first=claim.scheduled_for,
        until=until,
        limit=COUNTED_RUNS,
    )
    if count > MISSED_ROWS:
        about = "at least " if count >= COUNTED_RUNS else ""
        return [replace(row, missed_runs=count, error=f"{about}{count} runs were missed")]
    rows = []
    instant: datetime | None = claim.scheduled_for
    while instant is not None and instant <= until:
        rows.append(replace(row, scheduled_for=instant, missed_until=instant))
        instant = run_after(claim.schedule, instant, job_id=claim.job_id)
    return rows
