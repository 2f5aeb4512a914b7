"""What becomes of runs that no instance could start within the grace: the misfire policies."""

from datetime import datetime, timedelta
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, Overlap, Settlement
from app.core.runs.missed_runs import (
    Cause,
    last_before,
    latest_wanted,
    missed_executions,
    oldest_of,
)
from app.core.runs.outcome import OVERLAP
from app.core.runs.overlap import WAITING
from app.core.runs.transition import left_out
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import run_after
from app.core.schedule.spread import last_started
from app.core.schedule.words import moment

RECURRING_GRACE_SECONDS = 60.0
"""The grace of a recurring job that sets none."""


class Attendance(Struct, frozen=True, kw_only=True):
    """Which instance judges a late run, and since when the instance has looked for due jobs.

    The record of a missed run then says whether the run waited for a slot or for an instance.
    """

    instance: str
    looks_since: datetime | None = None
    """Since when the instance has looked for due jobs without a break; None if not known."""


def missed(claim: Claim, *, now: datetime, attendance: Attendance) -> Settlement | None:
    """Settle a claim whose run comes too late; return None for a run to carry out.

    Only the first attempt of a planned run can come too late: a retry, a replay and a run now
    are wanted whenever they start. (The latter two are one-offs without a grace.) The settlement
    records each dropped run and plans the first run that is kept.

    A run that is spread is late from its effective instant on. With the policies `skip`,
    `buffer_one` and `cancel_other` lateness counts from the end of the run before, if that is
    later. With `buffer_all` and `allow_all` the wait for the run before counts as lateness.
    """
    grace = claim.late.grace_seconds
    if grace is None and claim.schedule.run_at is None:
        grace = RECURRING_GRACE_SECONDS
    if grace is None or not claim.is_planned_first:
        return None
    too_late = now - timedelta(seconds=grace, microseconds=1)
    due = claim.next_run
    if claim.overlap not in WAITING and claim.last_ended_at is not None:
        due = max(due, claim.last_ended_at)
    if due > too_late:
        return None
    cause = cause_of(claim, grace=grace, attendance=attendance)
    if claim.schedule.run_at is not None:
        skip = claim.late.misfire is Misfire.SKIP
        return dropped(claim, until=claim.scheduled_for, now=now, cause=cause) if skip else None
    last = (
        last_started(claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=too_late)
        or claim.scheduled_for
    )
    match claim.late.misfire:
        case Misfire.SKIP:
            return dropped(claim, until=last, now=now, cause=cause)
        case Misfire.RUN_ONCE:
            kept = latest_wanted(claim, after=claim.scheduled_for, until=last)
            return dropped_before(claim, kept, now=now, cause=cause)
        case Misfire.RUN_ALL:
            kept = oldest_caught_up(claim, last)
            return dropped_before(claim, kept, now=now, cause=cause)
        case _:
            assert_never(claim.late.misfire)


def oldest_caught_up(claim: Claim, last: datetime) -> datetime:
    """Return the earliest of the last `max_catchup` runs in open time up to `last`.

    Where `max_catchup` is 0, the instant returned is one microsecond after `last`.
    """
    return oldest_of(claim, claim.late.max_catchup, until=last) or last + TICK


def dropped_before(
    claim: Claim,
    kept: datetime,
    *,
    now: datetime,
    cause: Cause,
    starts_at: datetime | None = None,
) -> Settlement | None:
    """Settle a claim by dropping its runs before `kept`; return None if there are none.

    The run that is kept starts as it is planned, or not before `starts_at` if that is given.
    """
    if kept <= claim.scheduled_for:
        return None
    until = last_before(claim, kept, after=claim.scheduled_for)
    settlement = dropped(claim, until=until, now=now, cause=cause)
    if starts_at is None or settlement.next_run is None:
        return settlement
    return replace(settlement, next_run=max(kept, starts_at))


def dropped(claim: Claim, *, until: datetime, now: datetime, cause: Cause) -> Settlement:
    """Settle a claim by dropping its runs from `scheduled_for` to `until`, both included."""
    occurrence = run_after(claim.schedule, until, job_id=claim.job_id)
    missed = missed_executions(claim, first=claim.scheduled_for, until=until, now=now, cause=cause)
    return left_out(claim, missed, occurrence=occurrence, now=now)


def cause_of(claim: Claim, *, grace: float, attendance: Attendance) -> Cause:
    """Say what a run waited for until its grace was over, as far as this instance knows."""
    over = claim.next_run + timedelta(seconds=grace)
    ended_at, since = claim.last_ended_at, attendance.looks_since
    together = claim.overlap is Overlap.ALLOW_ALL
    if ended_at is not None and ended_at > claim.next_run and not together:
        return Cause(
            OVERLAP,
            f"ran too long: the run before was unfinished until {moment(ended_at)}, and "
            f"the grace of {grace:g} s was over",
        )
    if claim.claimed_at <= over:
        why = f"waited for a slot: instance {attendance.instance} had none free"
    elif claim.edited_at > claim.next_run:
        why = (
            "was held back: it was paused, or could not run as it was, before the edit at "
            f"{moment(claim.edited_at)}"
        )
    elif since is not None and since <= over:
        why = (
            "waited for a slot or for its row: instances looked for due jobs and could not claim it"
        )
    else:
        began = "" if since is None else f", at {moment(since)},"
        why = f"nobody there: instance {attendance.instance} came later{began} and found it due"
    return Cause("misfire", f"{why}; the grace of {grace:g} s was over")
