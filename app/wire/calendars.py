"""Calendars as clients write and read them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.core.schedule.calendars import PARTS, CalendarRules
from app.errors import FieldError
from app.wire.pages import Page

MAX_ICAL_BYTES = 256 * 1024
Part = Annotated[str, Meta(min_length=1, max_length=500)]


class CalendarDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of time: that of all parts together."""

    description: Annotated[str, Meta(max_length=10_000)] | None = None
    timezone: Annotated[
        str, Meta(max_length=100, description="IANA name; whose clocks days and hours mean.")
    ] = "UTC"
    dates: Annotated[
        tuple[Part, ...],
        Meta(max_length=2000, description="2026-12-24, or 2026-12-24/2027-01-02 for all between."),
    ] = ()
    weekly: Annotated[
        tuple[Part, ...],
        Meta(max_length=20, description="MON-FRI 09:00-17:00; SAT,SUN; * 22:00-06:00."),
    ] = ()
    holidays: Annotated[
        tuple[Part, ...],
        Meta(max_length=20, description="Public holidays of a country or region: DE, US-CA."),
    ] = ()
    rrules: Annotated[
        tuple[Part, ...],
        Meta(max_length=50, description="Rules of iCalendar for days: FREQ=MONTHLY;BYDAY=-1FR."),
    ] = ()
    ical: (
        Annotated[
            str,
            Meta(max_length=MAX_ICAL_BYTES, description="The text of an .ics file: its events."),
        ]
        | None
    ) = None

    def rules(self) -> CalendarRules:
        """Return what the calendar is made of."""
        return CalendarRules(**{name: getattr(self, name) for name in ("timezone", *PARTS)})

    def errors(self) -> Iterator[FieldError]:
        """Check what Postgres cannot store."""
        for name in PARTS:
            value = getattr(self, name)
            if "\0" in (value if isinstance(value, str) else "".join(value or ())):
                yield FieldError(field=name, message="has a NUL character: remove it")
            elif isinstance(value, str) and len(value.encode(errors="replace")) > MAX_ICAL_BYTES:
                message = f"has more than {MAX_ICAL_BYTES} bytes: make several calendars of it"
                yield FieldError(field=name, message=message)


class CalendarTime(Struct, frozen=True, kw_only=True):
    """A span of time that a calendar has: from `start` to before `end`."""

    start: datetime
    end: datetime


class Calendar(CalendarDocument, frozen=True, kw_only=True):
    """A calendar as it stands."""

    name: str
    error: Annotated[
        str | None, Meta(description="Why it cannot be used; the jobs that use it are invalid.")
    ]
    is_worked_out: Annotated[
        bool, Meta(description="False: it was written in SQL, and an instance has yet to see it.")
    ]
    times: Annotated[list[CalendarTime], Meta(description="The next ten spans of time it has.")]
    jobs: Annotated[int, Meta(description="How many jobs use it, 10,000 at most.")]
    created_at: datetime
    updated_at: datetime


class CalendarPage(Page[Calendar], frozen=True, kw_only=True):
    """Calendars by name."""
