"""Whether the ping that a check expects has come, and what becomes of the job if not.

A check expects one ping for each run of its schedule, until the grace after its instant is over.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim, Execution, Settlement
from app.core.runs.missed_runs import Cause, missed_executions
from app.core.runs.outcome import Outcome
from app.core.runs.resume import resumed
from app.core.runs.skip import skipped
from app.core.runs.transition import INT4_MAX, deferred, left_out, released
from app.core.schedule.schedule import latest_run, run_after
from app.core.schedule.words import moment

CHECK = "check"
"""The kind of jobs that expect pings."""
MISSED = "missed"
"""The reason of a run whose ping did not come."""
EARLY_SECONDS = 30.0
"""How early a ping may be for a run at an instant, as clocks differ; at most the grace."""


class Pings(Struct, frozen=True, kw_only=True):
    """The latest pings of a check."""

    started_at: datetime | None = None
    """When one said that a run begins; None if none did."""
    ended_at: datetime | None = None
    """When one said that a run has ended, well or not."""


def judged(claim: Claim, pings: Pings, *, grace_seconds: float, now: datetime) -> Settlement:
    """Settle the claim of a check, which is made when its ping is due, and when its grace is over.

    The run is planned anew for the end of the grace; a ping has come, and the next one is planned;
    what said that it began has not said that it ended; or the ping was missed.
    """
    kept = skipped(claim, now=now) or (resumed(claim, now=now) if claim.is_resumed else None)
    if kept is not None:
        return kept
    pings = believed(pings, now=now)
    grace = timedelta(seconds=grace_seconds)
    if pings.ended_at is not None:
        early = timedelta(seconds=min(EARLY_SECONDS, grace_seconds))
        following = expected_after(claim, pings.ended_at, early=early)
        if following is None or following > claim.scheduled_for:
            return expecting(claim, following)
    deadline = claim.scheduled_for + grace
    started_at = under_way(claim, pings, now=now)
    if started_at is not None:
        deadline = max(deadline, started_at + grace)
    if now < deadline:
        return deferred(claim, until=deadline)
    if claim.edited_at > deadline:
        cause = Cause("paused", f"the job was resumed or edited at {moment(claim.edited_at)}")
        return dropped(claim, until=now, now=now, cause=cause)
    if started_at is not None:
        return unfinished(claim, started_at, grace_seconds=grace_seconds, now=now)
    cause = Cause(MISSED, f"no ping came within the grace of {grace_seconds:g} s")
    settlement = dropped(claim, until=max(now - grace, claim.scheduled_for), now=now, cause=cause)
    failures = claim.consecutive_failures + len(settlement.executions)
    return replace(settlement, consecutive_failures=min(failures, INT4_MAX))


def expected_after(claim: Claim, ended_at: datetime, *, early: timedelta) -> datetime | None:
    """Return when the ping after one is expected; None if none is any more.

    An interval without `starts_at` counts from ping to ping. For a run at an instant a ping may
    come a little early. The result is the claim's own run if the ping was too early for that.
    """
    if is_last(claim):
        return None
    if claim.schedule.every_seconds is not None and claim.schedule.starts_at is None:
        following = run_after(claim.schedule, ended_at, job_id=claim.job_id)
        return None if following is None else max(following, claim.scheduled_for)
    if ended_at + early < claim.scheduled_for:
        return claim.scheduled_for
    return run_after(
        claim.schedule, max(ended_at + early, claim.scheduled_for), job_id=claim.job_id
    )


def is_last(claim: Claim) -> bool:
    """Return whether as many pings have come as `max_runs` allows runs."""
    return claim.max_runs is not None and claim.runs >= claim.max_runs


def believed(pings: Pings, *, now: datetime) -> Pings:
    """Return the pings without those later than `now` by more than `EARLY_SECONDS`.

    These came while the database's clock was ahead, which is right again: a check that believed
    them would miss no run until then. One run may be recorded as missed that was not.
    """
    return Pings(
        started_at=passed(pings.started_at, now=now), ended_at=passed(pings.ended_at, now=now)
    )


def passed(at: datetime | None, *, now: datetime) -> datetime | None:
    """Return an instant, as far as it has passed or is about to."""
    return at if at is not None and at <= now + timedelta(seconds=EARLY_SECONDS) else None


def under_way(claim: Claim, pings: Pings, *, now: datetime) -> datetime | None:
    """Return since when what is checked has been under way; None if it is not, or gave up on."""
    ends = (pings.ended_at, passed(claim.last_finished_at, now=now))
    ended = [at for at in ends if at is not None]
    started_at = pings.started_at
    return started_at if started_at is not None and started_at > max(ended, default=MIN) else None


MIN = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def expecting(claim: Claim, following: datetime | None) -> Settlement:
    """Plan the next ping, with nothing to record: the ping that came wrote its own execution."""
    return replace(
        released(claim),
        next_run=following,
        scheduled_for=following or claim.scheduled_for,
        attempt=0,
    )


def dropped(claim: Claim, *, until: datetime, now: datetime, cause: Cause) -> Settlement:
    """Record the runs up to `until` as missed, and plan the one after them."""
    last = (
        latest_run(claim.schedule, job_id=claim.job_id, after=claim.scheduled_for, until=until)
        or claim.scheduled_for
    )
    rows = missed_executions(claim, first=claim.scheduled_for, until=last, now=now, cause=cause)
    following = None if is_last(claim) else run_after(claim.schedule, last, job_id=claim.job_id)
    return left_out(claim, rows, occurrence=following, now=now)


def unfinished(
    claim: Claim, started_at: datetime, *, grace_seconds: float, now: datetime
) -> Settlement:
    """Record what began and did not say in time that it ended, and plan the next ping."""
    row = Execution(
        # No id: what is settled too late, as a ping came meanwhile, leaves no evidence.
        job_id=claim.job_id,
        fence=claim.fence,
        kind=claim.kind,
        scheduled_for=claim.scheduled_for,
        attempt=1,
        outcome=Outcome.TIMED_OUT,
        reason="timeout",
        started_at=started_at,
        finished_at=now,
        error=f"what is checked began, and did not say within {grace_seconds:g} s that it ended",
    )
    following = run_after(claim.schedule, claim.scheduled_for, job_id=claim.job_id)
    return replace(
        expecting(claim, None if is_last(claim) else following),
        last_outcome=Outcome.TIMED_OUT,
        last_finished_at=now,
        consecutive_failures=min(claim.consecutive_failures + 1, INT4_MAX),
        executions=[row],
    )
