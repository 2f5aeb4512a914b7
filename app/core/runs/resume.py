"""What becomes of the runs that a job missed while it was paused, if whoever resumed it said so."""

from datetime import datetime
from typing import assert_never

from app.core.runs.claim import Claim, Missed, Settlement
from app.core.runs.misfire import dropped, dropped_before, oldest_caught_up
from app.core.runs.missed_runs import Cause, latest_wanted
from app.core.schedule.spread import last_started

PAUSED = Cause("paused", "the job was paused, and whoever resumed it had this run dropped")


def is_resumed(claim: Claim) -> bool:
    """Whether a claim is for the first attempt of a run that was due while its job was paused."""
    return (
        claim.resume_missed is not None
        and claim.resumed_at is not None
        and claim.attempt == 1
        and claim.run_id is None
        and claim.due_at <= claim.resumed_at
    )


def resumed(claim: Claim, *, now: datetime) -> Settlement | None:
    """Settle a claim that `is_resumed` if its run is to be dropped, with those dropped behind it.

    Return None for a run to carry out, however late it is.
    """
    last = last_started(
        claim.schedule,
        job_id=claim.job_id,
        after=claim.scheduled_for,
        until=claim.resumed_at or claim.scheduled_for,
    )
    last = last or claim.scheduled_for
    match claim.resume_missed:
        case None:
            return None
        case Missed.SKIP:
            return dropped(claim, until=last, now=now, cause=PAUSED)
        case Missed.ONCE:
            kept = latest_wanted(claim, after=claim.scheduled_for, until=last)
            return dropped_before(claim, kept, now=now, cause=PAUSED)
        case Missed.ALL if claim.schedule.run_at is not None:
            return None
        case Missed.ALL:
            return dropped_before(claim, oldest_caught_up(claim, last), now=now, cause=PAUSED)
        case _:
            assert_never(claim.resume_missed)
