"""Named calendars: what people write of one, worked out as spans of time.

A calendar is a set of time: the union of its days, weekly hours, public holidays, recurrence rules
and events. Whether jobs keep to that time or avoid it is for them to say.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

from app.core.schedule.calendar_events import Occurrence, Unreadable, occurrences
from app.core.schedule.occurrences import Span
from app.core.schedule.zones import stretch_at, zone_named
from app.errors import FieldError, InvalidInput

MAX_SPANS = 10_000
"""The most spans of time that a calendar may have within what is worked out of it."""
TOO_MANY_SPANS = (
    f"makes more than {MAX_SPANS} spans of time in six years: write fewer or longer ones"
)
PARTS = ("dates", "weekly", "holidays", "rrules", "ical")
"""The fields that time comes from."""
AHEAD = timedelta(days=5 * 365 + 2)
"""How far ahead calendars are worked out, which is as far as schedules are searched for a run."""
BEHIND = timedelta(days=366)
"""How far back, for runs that are late."""
DAY = timedelta(days=1)
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
DATES = re.compile(r"(\d{4}-\d{2}-\d{2})(?:/(\d{4}-\d{2}-\d{2}))?", re.ASCII)
WEEKLY = re.compile(
    r"(?P<days>\*|[A-Z]{3}(?:-[A-Z]{3})?(?:,[A-Z]{3}(?:-[A-Z]{3})?)*)"
    r"(?: (?P<hours>\d\d:\d\d-\d\d:\d\d(?:,\d\d:\d\d-\d\d:\d\d)*))?",
    re.ASCII,
)
HOLIDAYS = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,4}))?", re.ASCII)


class CalendarRules(Struct, frozen=True, kw_only=True):
    """What a calendar is made of; its time is that of all parts together."""

    timezone: str = "UTC"
    """The IANA zone whose clocks the days and hours mean."""
    dates: Sequence[str] = ()
    """Days, `2026-12-24`, or the first and the last of several, `2026-12-24/2027-01-02`."""
    weekly: Sequence[str] = ()
    """Days of the week and hours, `MON-FRI 09:00-17:00`; without hours the whole days."""
    holidays: Sequence[str] = ()
    """Public holidays of a country, `DE`, or of a part of one, `DE-BY`."""
    rrules: Sequence[str] = ()
    """Recurrence rules of iCalendar, each for whole days: `FREQ=MONTHLY;BYDAY=-1FR`."""
    ical: str | None = None
    """The text of an iCalendar file: the time of its events."""


def work_out(rules: CalendarRules, *, now: datetime) -> list[Span]:
    """Return the time of a calendar around `now`, as spans in order that do not touch.

    Raises:
        InvalidInput: names the part that cannot be read, or is too large; or all leave no time.
    """
    zone = zone_named(rules.timezone)
    since, until = now - BEHIND, now + AHEAD
    if not any(getattr(rules, name) for name in PARTS):
        raise refusal(
            "dates", "or another part is missing: write dates, weekly, holidays, rrules or ical"
        )
    found = [
        *given_days(rules.dates, zone),
        *weekly_hours(rules.weekly, zone, since=since, until=until),
        *holidays_in(rules.holidays, zone, since=since, until=until),
        *events_in(rules, zone, since=since, until=until),
    ]
    spans = list(joined(clipped(found, since=since, until=until)))
    if len(spans) > MAX_SPANS:
        name = next(name for name in reversed(PARTS) if getattr(rules, name))
        raise refusal(name, TOO_MANY_SPANS)
    if not spans or spans[-1].end <= now:
        name = next(name for name in PARTS if getattr(rules, name))
        raise refusal(
            name, "leaves the calendar without any time to come: write a later day, or hours"
        )
    return spans


def refusal(field: str, message: str) -> InvalidInput:
    return InvalidInput(FieldError(field=field, message=message))


def given_days(dates: Sequence[str], zone: ZoneInfo) -> Iterator[Span]:
    """Return the days that are written out."""
    for index, text in enumerate(dates):
        field = f"dates[{index}]"
        match = DATES.fullmatch(text)
        try:
            first = date.fromisoformat(match[1]) if match else None
            last = date.fromisoformat(match[2] or match[1]) if match else None
        except ValueError:
            first = last = None
        if first is None or last is None or not date(1990, 1, 1) <= first <= date(2199, 12, 30):
            message = (
                f"{text[:64]!r} is no day: write one such as 2026-12-24, or 2026-12-24/2027-01-02"
            )
            raise refusal(field, message)
        if not first <= last <= date(2199, 12, 30):
            raise refusal(
                field,
                f"{text[:64]!r} ends before it begins, or too late: write the first day first",
            )
        yield days(first, last + DAY, zone)


def days(first: date, end: date, zone: ZoneInfo) -> Span:
    """Return the time from the beginning of one day to that of another."""
    return wall_span(datetime.combine(first, time()), datetime.combine(end, time()), zone)


def wall_span(start: datetime, end: datetime, zone: ZoneInfo) -> Span:
    """Return the time between two times of a zone's clocks.

    What clocks skip ends or begins with the gap; what they show twice belongs to it both times.
    """
    return Span(instant(start, zone, fold=0), instant(end, zone, fold=1))


def instant(wall: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    """Return when the clocks of a zone show a time, the first (0) or the second (1) time."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first > second:  # in a gap, which lies between the two
        return stretch_at(zone.key, first).start
    return second if fold else first


def weekly_hours(
    weekly: Sequence[str], zone: ZoneInfo, *, since: datetime, until: datetime
) -> Iterator[Span]:
    """Return the hours of each week; those that end before they start end on the next day."""
    parsed = [parse_weekly(text, field=f"weekly[{index}]") for index, text in enumerate(weekly)]
    if not parsed:
        return
    of_days = [joined_hours(parsed, weekday) for weekday in range(7)]
    day, last = since.date() - 2 * DAY, until.date() + 2 * DAY
    if sum(map(len, of_days)) * (last - day).days / 7 > 2 * MAX_SPANS:  # two may touch at midnight
        raise refusal("weekly", TOO_MANY_SPANS)
    while day <= last:
        for start, end in of_days[day.weekday()]:
            midnight = datetime.combine(day, time())
            yield wall_span(midnight + start, midnight + end, zone)
        day += DAY


def joined_hours(
    parsed: Sequence[tuple[frozenset[int], list[tuple[timedelta, timedelta]]]], weekday: int
) -> list[tuple[timedelta, timedelta]]:
    """Return the hours that begin on a day of the week, where those that touch are one."""
    whole: list[tuple[timedelta, timedelta]] = []
    for start, end in sorted(
        one for weekdays, hours in parsed if weekday in weekdays for one in hours
    ):
        if whole and start <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(whole[-1][1], end)
        else:
            whole.append((start, end))
    return whole


def parse_weekly(
    text: str, *, field: str
) -> tuple[frozenset[int], list[tuple[timedelta, timedelta]]]:
    """Return the weekdays (0 is Monday), and the hours as times since midnight."""
    match = WEEKLY.fullmatch(text)
    if match is None:
        message = f"{text[:64]!r} has no days of the week: write MON-FRI 09:00-17:00, or SAT,SUN"
        raise refusal(field, message)
    weekdays = set(range(7)) if match["days"] == "*" else set[int]()
    for part in match["days"].split(",") if match["days"] != "*" else ():
        first, _, last = part.partition("-")
        for name in (first, last or first):
            if name not in WEEKDAYS:
                raise refusal(field, f"{name!r} is no day of the week: write {', '.join(WEEKDAYS)}")
        low, high = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        weekdays |= {number % 7 for number in range(low, high + (1 if high >= low else 8))}
    hours = [parse_hours(one, field=field) for one in (match["hours"] or "00:00-24:00").split(",")]
    return frozenset(weekdays), hours


def parse_hours(text: str, *, field: str) -> tuple[timedelta, timedelta]:
    """Return the start and the end of hours such as 09:00-17:00, and 22:00-06:00."""
    start, end = (parse_time(one) for one in text.split("-"))
    if start is None or end is None or start >= DAY:
        raise refusal(
            field, f"{text!r} are no hours of a day: write 00:00 to 24:00, such as 09:00-17:00"
        )
    return start, end if end > start else end + DAY


def parse_time(text: str) -> timedelta | None:
    hour, minute = int(text[:2]), int(text[3:])
    found = timedelta(hours=hour, minutes=minute)
    return found if minute < 60 and found <= DAY else None  # noqa: PLR2004 - of an hour


def holidays_in(
    codes: Sequence[str], zone: ZoneInfo, *, since: datetime, until: datetime
) -> Iterator[Span]:
    """Return the public holidays of countries, and of parts of them."""
    if not codes:
        return
    import holidays  # noqa: PLC0415 - 25 MB, which no process without such calendars is to have

    known = holidays.list_supported_countries()
    years = range(since.year, until.year + 1)
    for index, code in enumerate(codes):
        field = f"holidays[{index}]"
        match = HOLIDAYS.fullmatch(code)
        if match is None or match[1] not in known:
            near = get_close_matches(code[:2].upper(), known, n=3, cutoff=0.4)
            meant = f"did you mean {' or '.join(near)}?" if near else "write a code of ISO 3166"
            raise refusal(
                field,
                f"{code[:64]!r} is no country with known holidays, such as DE or US-CA; {meant}",
            )
        country, part = match.groups()
        if part is not None and part not in known[country]:
            parts = ", ".join(known[country]) or "none"
            raise refusal(
                field,
                f"{part!r} is no part of {country} with holidays of its own; known are: {parts}",
            )
        for day in holidays.country_holidays(country, subdiv=part, years=years):
            yield days(day, day + DAY, zone)


def events_in(
    rules: CalendarRules, zone: ZoneInfo, *, since: datetime, until: datetime
) -> Iterator[Span]:
    """Return the time of recurrence rules and events."""
    try:
        for one in occurrences(rules.rrules, rules.ical, since=since, until=until):
            yield span_of(one, zone)
    except Unreadable as error:
        raise refusal(error.field, str(error)) from None


def span_of(one: Occurrence, zone: ZoneInfo) -> Span:
    """Return the time of an event: of whole days, of the zone's clocks, or of instants."""
    start, end = one.start, one.end
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        first = start.date() if isinstance(start, datetime) else start
        return days(first, max(end.date() if isinstance(end, datetime) else end, first + DAY), zone)
    if start.tzinfo is None or end.tzinfo is None:
        return wall_span(start.replace(tzinfo=None), end.replace(tzinfo=None), zone)
    return Span(start.astimezone(UTC), end.astimezone(UTC))


def clipped(spans: Iterable[Span], *, since: datetime, until: datetime) -> Iterator[Span]:
    """Return what lies in [since, until)."""
    for one in spans:
        start, end = max(one.start, since), min(one.end, until)
        if start < end:
            yield Span(start, end)


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Return the same time in order, where spans that overlap or touch are one."""
    whole: Span | None = None
    for one in sorted(spans, key=lambda span: span.start):
        if whole is not None and one.start <= whole.end:
            whole = Span(whole.start, max(whole.end, one.end))
            continue
        if whole is not None:
            yield whole
        whole = one
    if whole is not None:
        yield whole


def gaps(spans: Sequence[Span], *, since: datetime, until: datetime) -> list[Span]:
    """Return the time in [since, until) that is in none of the spans, which are in order."""
    edges = [Span(since, since), *clipped(spans, since=since, until=until), Span(until, until)]
    return [Span(one.end, other.start) for one, other in pairwise(edges) if one.end < other.start]
