"""Closes claims that are not to be carried out, in the place of an execution."""

from datetime import datetime

from msgspec.structs import replace

from app.core.runs.claim import Claim, Overlap, Settlement
from app.core.runs.holding import lateness_at
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import OVERLAP, Outcome, Report
from app.core.runs.overlap import behind_cancelled, came_due, superseding, surely_superseded_at
from app.core.runs.resume import resumed
from app.core.runs.skip import skipped
from app.core.runs.transition import ended, left_out, recorded


def settled_unexecuted(
    claim: Claim, *, now: datetime, instance: str, attendance: Attendance
) -> Settlement | None:
    """Settle a claim that is not to be carried out; return None for one that is.

    Not carried out is a run whose last allowed attempt was lost, one that a person skipped, one
    that came due while another was unfinished or its job was paused, one that comes too late, and
    one that the next run cancels.
    """
    return (
        exhausted(claim, now=now, instance=instance)
        or skipped(claim, now=now)
        or passed_by(claim, now=now, attendance=attendance)
        or superseded(claim, now=now, instance=instance)
    )


def exhausted(claim: Claim, *, now: datetime, instance: str) -> Settlement | None:
    """Fail a run whose last allowed attempt was lost; return None while attempts are left.

    Without this rule a job that crashes its instance would crash one after the other.
    """
    if claim.attempt <= claim.retry.max_attempts:
        return None
    attempts = claim.attempt - 1
    report = Report(
        outcome=Outcome.FAILED,
        reason="lost",
        error=f"given up after {attempts} of {claim.retry.max_attempts} attempts: "
        "the last one was lost, its instance died or was cut off while it executed",
    )
    execution = recorded(claim, report, started_at=None, finished_at=now, instance=instance)
    return ended(claim, replace(execution, attempt=attempts))


def passed_by(claim: Claim, *, now: datetime, attendance: Attendance) -> Settlement | None:
    """Leave out a run that comes too late, that overlaps, or that its job was paused over.

    Return None for a run to carry out.
    """
    if claim.is_resumed:
        return resumed(claim, now=now)
    return overlapped(claim, now=now) or missed(
        claim, now=lateness_at(claim, now=now), attendance=attendance
    )


def overlapped(claim: Claim, *, now: datetime) -> Settlement | None:
    """Leave out a run that came due while a run was unfinished that a person then cancelled.

    `tocsin.cancel` plans what follows, and leaves it to the next claim to judge that. Return None
    for a run to carry out.
    """
    after = behind_cancelled(claim, now=now)
    if after is None or not after.missed:
        return None
    return left_out(claim, after.missed, occurrence=after.occurrence, now=now)


def superseded(claim: Claim, *, now: datetime, instance: str) -> Settlement | None:
    """Settle a claim whose run is to be cancelled, as the next one is due; None: carry it out.

    A run that never started is missed. Of another the attempt that this claim is for is recorded as
    cancelled: its instance was lost, or none claimed it until now.
    """
    if claim.overlap is not Overlap.CANCEL_OTHER:
        return None
    due = surely_superseded_at(claim, now=now)
    if due is None or due > now:
        return None
    if claim.attempt == 1:
        after = superseding(claim, now=now)
        return left_out(claim, after.missed, occurrence=after.occurrence, now=now)
    report = Report(
        outcome=Outcome.CANCELLED,
        reason=OVERLAP,
        error=f"cancelled before this attempt: {came_due(due)}",
    )
    execution = recorded(claim, report, started_at=None, finished_at=now, instance=instance)
    return ended(claim, execution)
