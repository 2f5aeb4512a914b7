"""Judges the calendars that jobs use, and maintenance, for `tocsin doctor`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from app.core.health import MAX_NAMED, MAX_TOLD, Finding
from app.core.schedule.words import moment

SOON = timedelta(days=30)
"""A calendar that is used and has no time behind that is soon at its end."""


class UsedCalendar(Struct, frozen=True, kw_only=True):
    """A calendar that jobs or windows of maintenance use."""

    name: str
    error: str | None
    ends_at: datetime | None
    """The end of its last time to come; None: none is to come."""
    jobs: int
    """How many jobs use it; counting stops at a thousand."""


def calendars_finding(used: Sequence[UsedCalendar], *, now: datetime) -> Finding:
    """Judge the calendars that are used: which cannot be, and which have ended or soon will."""
    troubles = [(one, told) for one in used if (told := trouble(one, now=now))]
    broken = any(one.error is not None for one, _ in troubles)
    named = ", ".join(f"{one.name!r} {told}" for one, told in troubles[:MAX_NAMED])
    return Finding(
        subject="calendars",
        found=f"{len(troubles)} of those in use: {named}" if troubles else "none in use has ended",
        remedy="Give them time to come: PUT /v1/calendars/NAME, or select tocsin.calendar(…). Jobs "
        "that keep to one without are not carried out; those that avoid it are always."
        if troubles
        else "",
        grave=broken,
    )


def trouble(one: UsedCalendar, *, now: datetime) -> str:
    """Say what is wrong with a calendar; empty if nothing is."""
    if one.error is not None:
        return f"cannot be worked out ({one.error[:MAX_TOLD]})"
    if one.ends_at is None:
        return "has no time to come"
    return f"ends at {moment(one.ends_at)}" if one.ends_at < now + SOON else ""


class UnderWay(Struct, frozen=True, kw_only=True):
    """A window of maintenance that is under way."""

    tag: str | None
    ends_at: datetime
    reason: str | None


def maintenance_finding(windows: Sequence[UnderWay]) -> Finding:
    """Say what is under maintenance: nobody has to do anything about it."""
    told = "; ".join(
        f"{'all jobs' if one.tag is None else f'what has the tag {one.tag!r}'} until "
        f"{moment(one.ends_at)}{f' ({one.reason[:MAX_TOLD]})' if one.reason else ''}"
        for one in windows[:MAX_NAMED]
    )
    return Finding(subject="maintenance", found=told or "none is under way")
