"""Runs that were due and are not carried out, and how they are recorded."""

from bisect import bisect_right
from datetime import datetime
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim, Execution
from app.core.runs.outcome import Outcome
from app.core.schedule.occurrences import TICK, Interval, Span, ZonedCron
from app.core.schedule.schedule import (
    EARLIEST,
    LATEST,
    begin_after,
    count_runs,
    end_by,
    latest_run,
    recurrence_of,
    run_after,
)

MISSED_ROWS = 100
"""Up to this many missed runs get an execution each; more share one execution."""
COUNTED_RUNS = 1_000_000
"""Counting missed runs stops here, to bound the time: twelve days of an every-second cron."""
MAX_STEPS = 1000
"""The most closed spans that are searched for a run in open time, to bound the time."""
ALWAYS = (Span(EARLIEST, LATEST + TICK),)


class Cause(Struct, frozen=True):
    """Why runs were missed."""

    reason: str
    """`misfire`: no instance could start them within the grace; `overlap`: the run before them was
    unfinished; `skipped`: a person skips them; `calendar`, `maintenance`: they fell into closed
    time, or into a window of maintenance; `min_gap`: they came too soon after the run before."""
    error: str
    """A sentence for people."""


def last_before(claim: Claim, instant: datetime, *, after: datetime) -> datetime:
    """Return the last run earlier than `instant` and not earlier than `after`, itself a run."""
    return (
        latest_run(claim.schedule, job_id=claim.job_id, after=after, until=instant - TICK) or after
    )


def latest_open(claim: Claim, *, after: datetime, until: datetime) -> datetime | None:
    """Return the last run in [after, until] that the calendars of its job leave open.

    `after` is itself a run. None if there is none, among those of the last `MAX_STEPS` closed
    spans.
    """
    last = latest_run(claim.schedule, job_id=claim.job_id, after=after, until=until)
    if claim.open_times is None or last is None:
        return last
    starts = [span.start for span in claim.open_times]
    for _ in range(MAX_STEPS):
        found = bisect_right(starts, last) - 1
        if found < 0:
            return None
        span = claim.open_times[found]
        if last < span.end:
            return last
        if span.end <= after:
            return None
        last = last_before(claim, span.end, after=after)
    return None


class Runs(Struct, frozen=True):
    """The runs of a claim's job from the claim's own up to another instant, included."""

    claim: Claim
    until: datetime
    recurrence: Interval | ZonedCron | None
    """None: it is a one-off."""

    @classmethod
    def of(cls, claim: Claim, *, until: datetime) -> Self:
        """Return the runs up to `until`.

        Raises:
            InvalidInput: the schedule cannot be read.
        """
        one_off = claim.schedule.run_at is not None
        recurrence = None
        if not one_off:
            recurrence = recurrence_of(claim.schedule, claim.job_id, anchor=claim.scheduled_for)
        return cls(claim, until, recurrence)

    def count(self, span: Span) -> int:
        """Count those that fall into a span, up to `COUNTED_RUNS`. Takes no longer for many."""
        first, stop = self.claim.scheduled_for, self.stop
        many = int(span.start <= first < min(span.end, stop))
        if self.recurrence is not None:
            begin = max(span.start, begin_after(self.claim.schedule, first))
            many += self.recurrence.count(begin, min(span.end, stop), limit=COUNTED_RUNS)
        return min(many, COUNTED_RUNS)

    @property
    def stop(self) -> datetime:
        """The first instant that is too late for them."""
        return end_by(self.claim.schedule, self.until)

    def is_last_by(self, instant: datetime) -> bool:
        """Whether no run of the job is at an instant, or behind the last of these and before it."""
        last = last_before(self.claim, instant + TICK, after=self.claim.scheduled_for)
        return last <= self.until and last < instant

    def latest(self, many: int, span: Span) -> datetime:
        """Return the earliest of the last `many` that fall into a span, which has as many."""
        low, high = max(span.start, self.claim.scheduled_for), min(span.end, self.stop)
        if self.count(Span(low + TICK, span.end)) < many:
            return low
        while high - low > TICK:  # as many from `low` on, and fewer from `high` on
            middle = low + (high - low) // 2
            if self.count(Span(middle, span.end)) >= many:
                low = middle
            else:
                high = middle
        return low


def oldest_of(claim: Claim, many: int, *, until: datetime) -> datetime | None:
    """Return the earliest of the last `many` runs up to `until` that are in open time.

    None if there is none, among those of the last `MAX_STEPS` spans of open time.
    """
    runs = Runs.of(claim, until=until)
    oldest, left = None, many  # of which span how many
    times = ALWAYS if claim.open_times is None else claim.open_times
    for span in reversed(times[-MAX_STEPS:]):
        if left <= 0 or span.end <= claim.scheduled_for:
            break
        if found := min(runs.count(span), left):
            oldest = found, span
            left -= found
    return None if oldest is None else runs.latest(*oldest)


def latest_wanted(claim: Claim, *, after: datetime, until: datetime) -> datetime:
    """Return which of the runs in [after, until] is carried out where only one of them is.

    The latest in open time. If none is, the latest: it is judged when it is claimed.
    """
    return latest_open(claim, after=after, until=until) or last_before(
        claim, until + TICK, after=after
    )


def missed_executions(
    claim: Claim, *, first: datetime, until: datetime, now: datetime, cause: Cause
) -> list[Execution]:
    """Record the runs from `first` to `until`: one row each, or one row for too many."""
    row = Execution(
        job_id=claim.job_id,
        run_id=claim.run_id,
        fence=claim.fence,
        kind=claim.kind,
        scheduled_for=first,
        outcome=Outcome.MISSED,
        reason=cause.reason,
        finished_at=now,
        error=cause.error,
        missed_runs=1,
        missed_until=until,
    )
    count = count_runs(
        claim.schedule, job_id=claim.job_id, first=first, until=until, limit=COUNTED_RUNS
    )
    if count > MISSED_ROWS:
        about = "at least " if count >= COUNTED_RUNS else ""
        error = f"{about}{count} runs were missed: {cause.error}"
        return [replace(row, missed_runs=count, error=error)]
    rows = []
    instant: datetime | None = first
    while instant is not None and instant <= until:
        rows.append(replace(row, scheduled_for=instant, missed_until=instant))
        instant = run_after(claim.schedule, instant, job_id=claim.job_id)
    return rows
