"""What becomes of runs that fall into closed time, or that come too soon after the run before.

Calendars judge the instant that a run is scheduled for, not that of its start: a run that is late,
or retried, is carried out whenever that is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim, OnClosed, Overlap, Settlement
from app.core.runs.misfire import dropped, dropped_before
from app.core.runs.missed_runs import Cause, latest_wanted
from app.core.runs.transition import deferred, invalid
from app.core.schedule.occurrences import TICK, Span, without
from app.core.schedule.opening import NEVER_OPEN, first_open
from app.core.schedule.schedule import EARLIEST, LATEST, latest_run
from app.core.schedule.spread import effective
from app.core.schedule.words import moment

UNREADY_SECONDS = 1.0
"""How long a run waits whose calendars an instance has yet to work out."""
CALENDAR = "calendar"
MIN_GAP = "min_gap"
MAINTENANCE = "maintenance"


NEVER_OPENS = (
    "calendars: do not open any more, as far as is known: give one of them time to come, or take "
    "it out of the calendars of the job"
)
"""The `plan_error` of a job whose every further run would be missed."""
IDLE = timedelta(days=1)
"""How long a job has carried out nothing before it is asked whether it still can."""


class Closing(Struct, frozen=True, kw_only=True):
    """How the calendars of a job stand at the instant of one of its runs."""

    problem: str | None = None
    """Why nothing can be said of them, such as a calendar that is gone."""
    unready: bool = False
    """Whether one of them has yet to be worked out."""
    closed_until: datetime | None = None
    """When they open again; None: they are open; `LATEST`: not as far as is known."""
    open_times: Sequence[Span] = ()
    """Their time, in order, from that run to the end of its attempt at the latest."""
    ends_at: datetime = LATEST
    """When they close for ever; `LATEST`: not as far as is known."""


class Maintained(Struct, frozen=True, kw_only=True):
    """What windows of maintenance make of one of the runs of a job."""

    window_id: UUID | None = None
    """The window that the run is due in; None: none."""
    on_closed: OnClosed = OnClosed.SKIP
    reason: str | None = None
    """Why there is maintenance, in the words of whoever set the window."""
    closed_until: datetime = LATEST
    """When windows and calendars leave the job open again, or where runs are missed, until when
    they are; `LATEST`: not as far as is known."""
    missed_times: Sequence[Span] = ()
    """The time, in order, from that run to the end of its attempt, in which runs are missed."""


def is_judged(claim: Claim) -> bool:
    """Whether a claim is for the first attempt of a run of the plan, which may be closed."""
    return claim.attempt == 1 and claim.run_id is None and not claim.paused


def informed(claim: Claim, closing: Closing) -> Claim:
    """Return the claim with the time in which its runs may be carried out.

    With `next_open` a run of closed time is carried out later, unless nothing opens any more.
    """
    if closing.problem is not None or closing.unready:
        return claim
    times = closing.open_times
    if claim.on_closed is OnClosed.NEXT_OPEN:
        times = [Span(EARLIEST, closing.ends_at)]
    return replace(claim, open_times=times)


def chooses(claim: Claim) -> bool:
    """Whether the end of a claim's run decides which of several is carried out, of open ones."""
    return (
        bool(claim.calendars)
        and claim.run_id is None
        and claim.overlap in {Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER}
    )


def closed(claim: Claim, closing: Closing, *, now: datetime) -> Settlement | None:
    """Settle a claim whose run falls into closed time; return None for one that does not.

    With `skip` that run is dropped, and those behind it that are due and closed as well. With
    `next_open` the latest of the runs in the closed time is carried out once that is over, unless
    a run of the plan is due at that very instant; the others are dropped.
    """
    if closing.problem is not None:
        return invalid(claim, closing.problem)
    if closing.unready:
        return deferred(claim, until=now + timedelta(seconds=UNREADY_SECONDS))
    opens_at = closing.closed_until
    if opens_at is None:
        return None
    until = "and does not open again" if opens_at >= LATEST else f"until {moment(opens_at)}"
    names = ", ".join(claim.calendars)
    cause = Cause(CALENDAR, f"the calendars ({names}) were closed then, {until}")
    if opens_at >= LATEST and claim.schedule.run_at is None:
        return invalid(claim, NEVER_OPENS)
    if claim.on_closed is OnClosed.NEXT_OPEN and opens_at < LATEST:
        return put_off(claim, until=opens_at, now=now, cause=cause)
    return dropped_to(claim, opens_at, now=now, cause=cause)


def dropped_to(claim: Claim, opens_at: datetime, *, now: datetime, cause: Cause) -> Settlement:
    """Drop the run of a claim, and those behind it that are due in the same closed time."""
    by = min(max(now, claim.scheduled_for), opens_at - TICK)
    last = latest_run(claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=by)
    return dropped(claim, until=last or claim.scheduled_for, now=now, cause=cause)


def is_idle(claim: Claim, *, now: datetime) -> bool:
    """Whether a job of which a run is missed has carried out none for long, or never yet."""
    ended_at = claim.last_finished_at
    recurs = claim.schedule.run_at is None
    return recurs and (ended_at is None or ended_at <= now - IDLE)


def never_open(claim: Claim, spans: Sequence[Span]) -> Settlement | None:
    """Make a job invalid none of whose runs falls into these spans of open time; None: one does."""
    found = first_open(claim.schedule, claim.scheduled_for, spans, job_id=claim.job_id)
    return invalid(claim, f"calendars: {NEVER_OPEN}") if found is None else None


def outside(claim: Claim, maintained: Maintained) -> Claim:
    """Return the claim without the time in which windows of maintenance have runs missed."""
    if not maintained.missed_times:
        return claim
    times: Sequence[Span] = claim.open_times or ()
    if claim.open_times is None:
        times = [Span(EARLIEST, LATEST)]
    return replace(claim, open_times=without(times, maintained.missed_times))


def under_maintenance(claim: Claim, maintained: Maintained, *, now: datetime) -> Settlement | None:
    """Settle a claim whose run is due in a window of maintenance; return None for one that is not.

    As `closed` does for calendars, by the window's own `on_closed`.
    """
    if maintained.window_id is None:
        return None
    over_at = maintained.closed_until
    why = "" if maintained.reason is None else f" ({maintained.reason})"
    until = "and does not end" if over_at >= LATEST else f"until {moment(over_at)}"
    cause = Cause(MAINTENANCE, f"maintenance{why} was under way then, {until}")
    if maintained.on_closed is OnClosed.NEXT_OPEN and over_at < LATEST:
        return put_off(claim, until=over_at, now=now, cause=cause)
    return dropped_to(claim, over_at, now=now, cause=cause)


def too_soon(claim: Claim, *, now: datetime) -> Settlement | None:
    """Put a run off that comes within `min_gap_seconds` of the end of the run before.

    Of several that come due meanwhile the latest is carried out. Return None for a run that may
    start now.
    """
    gap, ended_at = claim.min_gap_seconds, claim.last_ended_at
    if not gap or ended_at is None or not is_judged(claim):
        return None
    ready_at = ended_at + timedelta(seconds=gap)
    if claim.scheduled_for >= ready_at:
        return None
    cause = Cause(
        MIN_GAP, f"the run before had ended less than {gap:g} s before, at {moment(ended_at)}"
    )
    return put_off(claim, until=ready_at, now=now, cause=cause)


def put_off(claim: Claim, *, until: datetime, now: datetime, cause: Cause) -> Settlement | None:
    """Put a run off until an instant; then drop it if a later run is due. None: carry it out.

    A job whose starts are spread starts as much later then.
    """
    starts_at = effective(claim.schedule, until, job_id=claim.job_id)
    if starts_at > now:
        return deferred(claim, until=starts_at)
    kept = latest_wanted(claim, after=claim.scheduled_for, until=until)
    return dropped_before(claim, kept, now=now, cause=cause, starts_at=starts_at)
