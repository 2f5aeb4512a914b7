"""What becomes of runs that come due while the run before them is unfinished."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from msgspec import Struct

from app.core.runs.claim import Claim, Execution, Overlap
from app.core.runs.missed_runs import Cause, last_before, latest_wanted, missed_executions
from app.core.runs.outcome import OVERLAP, Outcome
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import run_after
from app.core.schedule.spread import effective, last_started
from app.core.schedule.words import moment

WAITING = frozenset({Overlap.BUFFER_ALL, Overlap.ALLOW_ALL})
"""The policies by which no run is missed because the run before is unfinished: the run waits, with
`allow_all` only where too many are under way."""


UNKNOWN = "ran too long: the run before"
"""How the text on missed runs begins if nothing is known any more of the run before them."""


class Following(Struct, frozen=True):
    """The run that follows one that has ended, and the runs that are missed in between."""

    occurrence: datetime | None
    """Its nominal instant; None if there is none."""
    missed: Sequence[Execution] = ()


def following(claim: Claim, execution: Execution) -> Following:
    """Judge the runs that came due up to the end of a run, by the overlap policy of its job.

    A run is unfinished from the instant that it is scheduled for until its last attempt has ended,
    so that late runs are not carried out one after the other. But `run_all`, and whoever resumes a
    job with `all`, asks for just that: a run that ended with its first attempt then counts as
    unfinished from its actual start only.
    """
    first = run_after(claim.schedule, claim.scheduled_for, job_id=claim.job_id)
    ended_at = execution.finished_at
    if claim.overlap in WAITING or first is None:
        return Following(first)
    starts_at = effective(claim.schedule, first, job_id=claim.job_id)
    if starts_at > ended_at:
        return Following(first)
    began_at = claim.scheduled_for
    if claim.is_made_up_for and execution.started_at:
        began_at = execution.started_at
    if starts_at <= began_at:
        return Following(first)
    why = unfinished(claim, execution, since=starts_at)
    return dropped(claim, first, until=ended_at, why=why, now=ended_at)


def unfinished(claim: Claim, execution: Execution, *, since: datetime) -> str:
    """Return the beginning of why a run was unfinished at `since`, when the next one came due.

    Only an execution that was the run's first attempt tells when the run began.
    """
    run, started_at = f"the run of {moment(claim.scheduled_for)}", execution.started_at
    if claim.attempt == 1 and started_at is not None and started_at > since:
        return f"started late: {run} began at {moment(started_at)}, and"
    return f"ran too long: {run}"


def behind_cancelled(claim: Claim, *, now: datetime) -> Following | None:
    """Judge the run of a claim, and later ones, that came due while a run was under way.

    That run was then cancelled by a person, who leaves this to the next claim. Return None if the
    run before was not cancelled or had ended earlier, or if runs wait (`WAITING`).
    """
    ended_at = claim.last_finished_at
    if (
        claim.overlap in WAITING
        or not claim.is_planned_first
        or claim.schedule.run_at is not None
        or claim.last_outcome is not Outcome.CANCELLED
        or ended_at is None
        or ended_at <= claim.next_run
    ):
        return None
    return dropped(claim, claim.scheduled_for, until=ended_at, why=UNKNOWN, now=now)


def superseded_at(claim: Claim, *, now: datetime) -> datetime | None:
    """Return when the run after that of a claim comes due, which cancels it; None if none does.

    A run that is skipped cancels none, nor does one in closed time or under maintenance, of which
    the caller knows: see `Superseding`. `now` is when this attempt starts.
    """
    run = superseding_run(claim)
    if run is None:
        return None
    return unless_late(claim, effective(claim.schedule, run, job_id=claim.job_id), now=now)


def unless_late(claim: Claim, due: datetime, *, now: datetime) -> datetime | None:
    """Return `due`, when a run comes due that cancels that of a claim; None if it cancels none.

    A first attempt of a run that is made up for is not cancelled by one that was due before `now`.
    """
    return None if due <= now and claim.is_made_up_for else due


def superseding_run(claim: Claim) -> datetime | None:
    """Return the nominal instant of the first run after that of a claim that is not skipped.

    None if there is none, or if it would cancel none.
    """
    if claim.overlap is not Overlap.CANCEL_OTHER or claim.is_last:
        return None
    due = run_after(claim.schedule, claim.scheduled_for, job_id=claim.job_id)
    if due is not None and claim.skip_until is not None and due < claim.skip_until:
        due = run_after(claim.schedule, claim.skip_until - TICK, job_id=claim.job_id)
    for _ in range(claim.skip_runs or 0):
        due = None if due is None else run_after(claim.schedule, due, job_id=claim.job_id)
    return due


def surely_superseded_at(claim: Claim, *, now: datetime) -> datetime | None:
    """Return what `superseded_at` does; None where calendars or windows may close the next run."""
    if claim.calendars or claim.may_be_maintained_next:
        return None
    return superseded_at(claim, now=now)


def superseding(claim: Claim, *, now: datetime) -> Following:
    """Drop the run of a claim that has not started, and later ones, for the latest due at `now`."""
    return dropped(claim, claim.scheduled_for, until=now, why=UNKNOWN, now=now)


def came_due(due: datetime) -> str:
    """Return the text that says which run cancels the one before."""
    return f"the run of {moment(due)} came due, and overlap is {Overlap.CANCEL_OTHER}"


def dropped(
    claim: Claim, first: datetime, *, until: datetime, why: str, now: datetime
) -> Following:
    """Drop runs from `first` to `until`: all, all but the last, or none, as the policy has it.

    `why` begins what is said of each: it is about the run that was unfinished until `until`.
    """
    last = last_started(claim.schedule, job_id=claim.job_id, after=first, until=until) or first
    match claim.overlap:
        case Overlap.SKIP:
            occurrence = run_after(claim.schedule, last, job_id=claim.job_id)
        case Overlap.BUFFER_ONE | Overlap.CANCEL_OTHER:
            occurrence = latest_wanted(claim, after=first, until=last)
            if occurrence == first:
                return Following(first)
            last = last_before(claim, occurrence, after=first)
        case Overlap.BUFFER_ALL | Overlap.ALLOW_ALL:
            return Following(first)
        case _:
            assert_never(claim.overlap)
    cause = Cause(
        OVERLAP, f"{why} was unfinished until {moment(until)}, and overlap is {claim.overlap}"
    )
    missed = missed_executions(claim, first=first, until=last, now=now, cause=cause)
    return Following(occurrence, missed)
