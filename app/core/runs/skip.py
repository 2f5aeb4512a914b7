"""What becomes of runs that a person skips: each is dropped when its time comes, and recorded."""

from datetime import datetime

from msgspec.structs import replace

from app.core.runs.claim import Claim, Settlement
from app.core.runs.misfire import dropped
from app.core.runs.missed_runs import Cause
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import count_runs, latest_run, run_after
from app.core.schedule.spread import last_started

SKIPPED = Cause("skipped", "somebody had this run skipped")


def skipped(claim: Claim, *, now: datetime) -> Settlement | None:
    """Settle a claim whose run is to be skipped, with those skipped runs that are due behind it.

    Return None for a run to carry out: a retry, as its run has begun, and a run beside the plan.
    """
    if not claim.skip_runs and claim.skip_until is None:
        return None
    if claim.attempt != 1 or claim.run_id is not None:
        return None
    by_now = max(now, claim.scheduled_for)
    if claim.schedule.has_jitter:  # what has yet to start can be taken back
        started = last_started(
            claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=now
        )
        by_now = started or claim.scheduled_for
    if claim.skip_until is not None and claim.scheduled_for < claim.skip_until:
        last, left = last_run(claim, by=min(by_now, claim.skip_until - TICK)), None
    elif claim.skip_runs:
        last, left = skip_some(claim, claim.skip_runs, by=by_now)
    else:
        return None
    return replace(dropped(claim, until=last, now=now, cause=SKIPPED), skip_runs=left)


def skip_some(claim: Claim, most: int, *, by: datetime) -> tuple[datetime, int]:
    """Return the last of the first `most` runs up to `by`, and how many are left to skip."""
    due = count_runs(
        claim.schedule, job_id=claim.job_id, first=claim.scheduled_for, until=by, limit=most + 1
    )
    if due <= most:
        return last_run(claim, by=by), most - max(due, 1)
    last = claim.scheduled_for
    for _ in range(most - 1):
        last = run_after(claim.schedule, last, job_id=claim.job_id) or last
    return last, 0


def last_run(claim: Claim, *, by: datetime) -> datetime:
    """Return the last run of the claim's plan up to `by`."""
    later = latest_run(claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=by)
    return later or claim.scheduled_for
