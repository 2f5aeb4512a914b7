"""Runs whose only attempts were lost before any began: they are judged as if none had been made.

A claim counts an attempt before its run is judged: the run may turn out to be closed, too late or
put off. When the holder dies in between, what it would have made of the run holds good, as long as
that is sure. A run of which an attempt may have begun needs its retry.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim, Settlement
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome
from app.core.runs.resume import resumed
from app.core.runs.unexecuted import overlapped, settled_unexecuted, superseded

SLACK = timedelta(seconds=0.25)
"""How much later than the next claim the end of a run may seem to be, although it came before: the
end is told by an instance, which estimates the database's clock, the claim by the database."""
CLAIMED_AHEAD = timedelta(seconds=1)
"""How much earlier than the earliest start on record an attempt may have been claimed, at most: the
second of `tocsin.earliest_start`."""
KNOWN_AFTER = timedelta(minutes=5)
"""So long after a calendar or a window was changed, every instance judges by it: windows are read
again every five minutes, should no notification tell of the change."""


class Attempts(Struct, frozen=True, kw_only=True):
    """The earlier attempts of a run as they are on record, and what may judge the run now."""

    lost: int
    """How many were lost."""
    others: int
    """How many ended otherwise."""
    first_start_at: datetime | None
    """The earliest that the first of them may have begun: when it was claimed, or its instant if
    that came later; None without any."""
    judges_changed_at: datetime | None
    """When a calendar or a window that may judge the run was last changed; None without any."""


def may_be_unbegun(claim: Claim) -> bool:
    """Whether a claim is for another attempt of a run of which none may have begun.

    Where an attempt of the run ended on record, its outcome is the job's last one, unless another
    run ended since.
    """
    return (
        claim.attempt > 1
        and claim.run_id is None
        and not claim.paused
        and (claim.retaken or claim.last_outcome in {None, Outcome.SUCCEEDED, Outcome.MISSED})
    )


def unbegun_since(claim: Claim, attempts: Attempts) -> datetime | None:
    """Return the earliest start of the first attempt, if all were lost and the job is as it was.

    It is to be as it was when that was claimed. None otherwise: then nothing is sure.
    """
    since = attempts.first_start_at
    if since is None or attempts.others or attempts.lost != claim.attempt - 1:
        return None
    ended_at = claim.last_finished_at
    if claim.edited_at > earliest_claim(claim, since) or (
        ended_at is not None and ended_at > since + SLACK
    ):
        return None
    return since


def earliest_claim(claim: Claim, since: datetime) -> datetime:
    """Return when the first attempt, which began at `since` at the earliest, may have been claimed.

    One that began after its instant was claimed then, and not ahead.
    """
    is_late = since > claim.scheduled_for and not claim.schedule.has_jitter
    return since if is_late else since - CLAIMED_AHEAD


def judges_stood(attempts: Attempts, since: datetime) -> bool:
    """Whether the calendars and windows of a run are what they were at its earliest start."""
    changed_at = attempts.judges_changed_at
    return changed_at is None or changed_at + KNOWN_AFTER <= since


def as_first(claim: Claim) -> Claim:
    """Return the claim as that of the first attempt."""
    return replace(claim, attempt=1)


def unsure_of_next(first: Claim) -> Claim:
    """Return the claim as one whose next run a window may have closed that is gone by now.

    A run is then not known to be superseded: its first holder may have begun it.
    """
    return replace(first, may_be_maintained_next=True)


def dropped_as_first(
    first: Claim, *, since: datetime, now: datetime, instance: str, attendance: Attendance
) -> Settlement | None:
    """Settle a claim that is `as_first` if its run was to be dropped at `since` already.

    `since` is its earliest start: what has come too late only later may have begun. So may
    what had waited for a permit, as for that time it is not late. Return None for a run to carry
    out.
    """
    if first.is_resumed:
        sure = resumed(first, now=since)
    else:
        sure = overlapped(first, now=since) or superseded(first, now=since, instance=instance)
        if sure is None and first.flow_key is None:
            sure = missed(first, now=since, attendance=attendance)
    if sure is None:
        return None
    return settled_unexecuted(first, now=now, instance=instance, attendance=attendance)
