"""What becomes of the runs that a job missed while it was paused, if whoever resumed it said so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from app.core.jobs.beside import MissedRuns
from app.core.runs.claim import Claim, Misfire, Missed, Overlap, Settlement
from app.core.runs.misfire import (
    RECURRING_GRACE_SECONDS,
    dropped,
    dropped_before,
    oldest_caught_up,
)
from app.core.runs.missed_runs import ALWAYS, COUNTED_RUNS, Cause, Runs, latest_wanted
from app.core.runs.skip import skipped
from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import latest_run
from app.core.schedule.spread import last_started

PAUSED = Cause("paused", "the job was paused, and whoever resumed it had this run dropped")


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


class Openings(Struct, frozen=True, kw_only=True):
    """The time in which runs of a job may be carried out, in order."""

    open_times: Sequence[Span] = ALWAYS
    waiting_times: Sequence[Span] = ()
    """Closed time, to its end, for which runs wait; then the latest of them is carried out."""

    def count(self, runs: Runs, *, most: int = COUNTED_RUNS) -> int:
        """Count how many of the last `most` runs are carried out if each has its turn."""
        spans = [(span, False) for span in self.open_times]
        spans += [(span, True) for span in self.waiting_times]
        spans.sort(key=lambda one: one[0].start, reverse=True)
        wanted, left = 0, most
        for span, waits in spans:
            if left <= 0:
                break
            many = min(runs.count(span), left)
            left -= many
            wanted += many if not waits else int(many > 0 and runs.is_last_by(span.end))
        return min(wanted, COUNTED_RUNS)


def on_resumption(
    claim: Claim, openings: Openings, missed: Missed | None, *, now: datetime
) -> MissedRuns:
    """Count the runs that a paused job has missed by now, and those that are carried out.

    `claim`: its run to come as it would be claimed now. `missed`: what is to become of them; None:
    what the misfire policy says, to which those within the grace are not missed. Not counted are
    runs that are skipped, or that calendars and windows have missed in any case.

    Raises:
        InvalidInput: the schedule cannot be read.
    """
    while claim.next_run <= now and (settlement := skipped(claim, now=now)) is not None:
        if settlement.next_run is None or settlement.scheduled_for is None:
            return MissedRuns(missed_runs=0, carried_out=0)
        left = claim.skip_runs if settlement.skip_runs is None else settlement.skip_runs
        run = settlement.scheduled_for
        claim = replace(claim, scheduled_for=run, next_run=settlement.next_run, skip_runs=left)
    if claim.next_run > now:
        return MissedRuns(missed_runs=0, carried_out=0)
    runs = Runs.of(claim, until=started_by(claim, now) or claim.scheduled_for)
    many = openings.count(runs)
    if missed is None:
        kept = kept_by_misfire(claim, openings, runs, now=now)
    elif missed is Missed.ALL and runs.recurrence is not None:
        kept = openings.count(runs, most=claim.late.max_catchup)
    else:
        kept = 0 if missed is Missed.SKIP else openings.count(runs, most=1)
    if claim.min_gap_seconds:
        kept = min(kept, most_with_gap(claim, claim.min_gap_seconds, now=now))
    if claim.max_runs is not None:
        kept = min(kept, max(claim.max_runs - claim.runs, 0))
    return MissedRuns(missed_runs=many, carried_out=kept)


def started_by(claim: Claim, instant: datetime) -> datetime | None:
    """Return the last run from that of a claim on that would have started by an instant."""
    return last_started(
        claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=instant
    )


def kept_by_misfire(claim: Claim, openings: Openings, runs: Runs, *, now: datetime) -> int:
    """Count the runs that the misfire and overlap policies of a job carry out of some at `now`."""
    many, late = openings.count(runs), late_among(claim, runs, now=now)
    if late is not None:
        kept = 1 if runs.recurrence is None else claim.late.max_catchup
        match claim.late.misfire:
            case Misfire.SKIP:
                kept = 0
            case Misfire.RUN_ONCE:
                kept = min(openings.count(late), 1)
            case Misfire.RUN_ALL:
                kept = openings.count(late, most=kept)
            case _:
                assert_never(claim.late.misfire)
        many += kept - openings.count(late)
    if claim.late.misfire is Misfire.RUN_ALL:
        return many
    # The first that is carried out was unfinished when the others came due.
    most = {Overlap.SKIP: 1, Overlap.CANCEL_OTHER: 1, Overlap.BUFFER_ONE: 2}.get(claim.overlap)
    return many if most is None else min(many, most)


def late_among(claim: Claim, runs: Runs, *, now: datetime) -> Runs | None:
    """Return those of the runs that come too late at `now`; None if none does."""
    grace = claim.late.grace_seconds
    if grace is None and runs.recurrence is not None:
        grace = RECURRING_GRACE_SECONDS
    if grace is None:
        return None
    too_late = now - timedelta(seconds=grace, microseconds=1)
    if claim.next_run > too_late:
        return None
    return replace(runs, until=started_by(claim, too_late) or claim.scheduled_for)


def most_with_gap(claim: Claim, gap_seconds: float, *, now: datetime) -> int:
    """Return how many of the missed runs of a job are carried out at most, for the gap in between.

    What comes due within the gap after one that has ended is put off, and then only the latest is
    carried out, which may be one that was not missed.
    """
    gap = timedelta(seconds=gap_seconds)
    ready_at = now if claim.last_ended_at is None else claim.last_ended_at + gap
    at_once = int(ready_at <= now)
    until = now + gap if at_once else ready_at
    last = latest_run(claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=until)
    missed_last = started_by(claim, now) or claim.scheduled_for
    return at_once + int(last is None or last <= missed_last)
