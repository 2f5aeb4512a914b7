"""The events of iCalendar files and rules, within bounds that keep any text from taking long.

icalendar reads the texts, dateutil follows the rules (RFC 5545).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from msgspec import Struct

from app.core.schedule.zone_rules import FOREIGN_NAMES

MAX_EVENTS = 1000
"""The most events of a file."""
MAX_RECURRING = 50
"""The most of them that recur, rules included: each is followed from its first day on."""
MAX_OCCURRENCES = 20_000
"""The most occurrences of all of them."""
MAX_RULE = 500
"""The most characters of a rule."""
FIRST_YEAR = 1990
"""Events that recur begin in this year at the earliest."""
FREQUENCIES = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
FINE = ("BYHOUR", "BYMINUTE", "BYSECOND")
"""Parts of a rule that make it recur several times a day."""
RULE = re.compile(r"FREQ=[A-Z]+(?:;[A-Z]+=[-+A-Z0-9,]+)*", re.ASCII)
EPOCH = "20000101"
"""The first day from which a rule without an event counts."""
DAY = timedelta(days=1)


class Occurrence(Struct, frozen=True):
    """The time of one event: days, times of the zone's clocks (naive), or instants."""

    start: date | datetime
    end: date | datetime


class Unreadable(Exception):
    """A part of a calendar cannot be read, or would take too long; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def occurrences(
    rules: Sequence[str], ical: str | None, *, since: datetime, until: datetime
) -> Iterator[Occurrence]:
    """Return the times of rules for whole days, and of the events of a file, up to `until`.

    Of those that recur, only what begins within a year before `since`, or later.

    Raises:
        Unreadable: a part cannot be read, or has too much.
    """
    texts = {f"rrules[{index}]": as_file(rule, index) for index, rule in enumerate(rules)}
    if ical:
        texts["ical"] = ical
    many = recurring = 0
    for field, text in texts.items():
        events = read_field(field, text)
        moved = moved_in(events)
        for event in events:
            try:
                check_zones(event)
                recurring += check_rules(event)
                if recurring > MAX_RECURRING:
                    raise ValueError(TOO_MANY_RULES)  # noqa: TRY301 - worded below, as all others
                for one in times_of(event, moved, since=since, until=until):
                    many += 1
                    if many > MAX_OCCURRENCES:
                        raise ValueError(TOO_MANY_TIMES)  # noqa: TRY301
                    yield one
            except Exception as error:  # noqa: BLE001 - as above
                said = str(error) if isinstance(error, ValueError) else repr(error)
                if isinstance(error, KeyError):
                    said = f"it has no {error.args[0]}"
                called = str(event.get("SUMMARY", ""))[:64]
                message = (
                    f"has an event{f' {called!r}' if called else ''} that cannot be: {said[:300]}"
                )
                raise Unreadable(field, message) from None


def read_field(field: str, text: str) -> list[Any]:
    """Read the events of a part of a calendar.

    Raises:
        Unreadable: they cannot be read, or are too many.
    """
    try:
        events = read_events(text)
    except OSError:  # about a file of this host, which is nobody's business
        raise Unreadable(field, f"names a zone that nobody knows: {NAME_ZONES}") from None
    except Exception as error:  # noqa: BLE001 - whatever the text makes of the library
        said = f"{type(error).__name__}: {str(error)[:200]}"
        remedy = "write one calendar, from BEGIN:VCALENDAR to END:VCALENDAR"
        raise Unreadable(field, f"cannot be read ({said}): {remedy}") from None
    if len(events) > MAX_EVENTS:
        message = f"has more than {MAX_EVENTS} events: make several calendars of it"
        raise Unreadable(field, message)
    return events


NAME_ZONES = "write an IANA name, such as Europe/Paris, or describe it in a VTIMEZONE"
TOO_MANY_RULES = f"more than {MAX_RECURRING} events or rules recur; make several calendars of it"
TOO_MANY_TIMES = (
    f"there are more than {MAX_OCCURRENCES} times until five years from now; write fewer"
)


def as_file(rule: str, index: int) -> str:
    """Return the text of a calendar whose one event recurs by a rule, for whole days."""
    if len(rule) > MAX_RULE or not RULE.fullmatch(rule) or "COUNT=" in rule:
        message = (
            f"{rule[:64]!r} is no rule for days: write for example FREQ=MONTHLY;BYDAY=-1FR, "
            "without COUNT"
        )
        raise Unreadable(f"rrules[{index}]", message)
    begin = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:tocsin", "BEGIN:VEVENT", "UID:rule")
    event = (f"DTSTART;VALUE=DATE:{EPOCH}", f"RRULE:{rule}")
    return "\r\n".join((*begin, *event, "END:VEVENT", "END:VCALENDAR", ""))


def read_events(text: str) -> list[Any]:
    """Return the events of one calendar that were not cancelled."""
    from icalendar import Calendar  # noqa: PLC0415 - only processes with such calendars have it

    calendar = Calendar.from_ical(text)
    if calendar.name != "VCALENDAR":
        message = f"it begins with BEGIN:{calendar.name}"
        raise ValueError(message)
    events = calendar.walk("VEVENT")
    return [one for one in events if str(one.get("STATUS", "")).upper() != "CANCELLED"]


def listed(value: Any) -> list[Any]:  # noqa: ANN401 - one property of icalendar, or several
    return value if isinstance(value, list) else [] if value is None else [value]


def check_rules(event: Any) -> int:  # noqa: ANN401
    """Return how many rules an event has; raise ValueError for one that would take too long."""
    rules = listed(event.get("RRULE"))
    for rule in rules:
        if len(rule.to_ical()) > MAX_RULE:
            message = f"its rule has more than {MAX_RULE} characters; write a shorter one"
            raise ValueError(message)
        frequency = str(next(iter(rule.get("FREQ", [""])), "")).upper()
        if frequency not in FREQUENCIES:
            message = f"it recurs by FREQ={frequency}; write DAILY, WEEKLY, MONTHLY or YEARLY"
            raise ValueError(message)
        if fine := [name for name in FINE if name in rule]:
            message = f"its rule has {fine[0]}; give the event its time by DTSTART, or use weekly"
            raise ValueError(message)
        if any(int(one) < 1 for one in rule.get("INTERVAL", ())):
            message = "the INTERVAL of its rule is less than 1; write 1 or more, or leave it out"
            raise ValueError(message)
        if event["DTSTART"].dt.year < FIRST_YEAR:
            message = f"it recurs since before {FIRST_YEAR}; write a later DTSTART"
            raise ValueError(message)
    return len(rules)


def moved_in(events: Sequence[Any]) -> set[tuple[str, Any]]:
    """Return which occurrences have an event of their own, which takes their place."""
    return {
        (str(event.get("UID", "")), event["RECURRENCE-ID"].dt)
        for event in events
        if "RECURRENCE-ID" in event
    }


def check_zones(event: Any) -> None:  # noqa: ANN401
    """Raise ValueError if an instant of an event is in a zone that nobody knows.

    What one host knows and another does not, or knows otherwise, is no zone.
    """
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID", "RDATE", "EXDATE"):
        for part in listed(event.get(name)):
            zone = part.params.get("TZID")
            first = part.dts[0].dt if hasattr(part, "dts") else part.dt
            at = first[0] if isinstance(first, tuple) else first
            is_known = not isinstance(at, datetime) or at.tzinfo is not None
            if zone is not None and (not is_known or str(zone).startswith(FOREIGN_NAMES)):
                message = f"nobody knows the zone {str(zone)[:64]!r} of its {name}; {NAME_ZONES}"
                raise ValueError(message)


def times_of(
    event: Any,  # noqa: ANN401
    moved: set[tuple[str, Any]],
    *,
    since: datetime,
    until: datetime,
) -> Iterator[Occurrence]:
    """Return the times of an event, without those that EXDATE names or that are moved elsewhere."""
    start = event["DTSTART"].dt
    length = length_of(event, start)
    without = {one.dt for part in listed(event.get("EXDATE")) for one in part.dts}
    if "RECURRENCE-ID" not in event:
        without |= {at for uid, at in moved if uid == str(event.get("UID", ""))}
    starts = [start]
    for rule in listed(event.get("RRULE")):
        starts += starts_by(rule, start, since=since, until=until)
    for one in (one.dt for part in listed(event.get("RDATE")) for one in part.dts):
        if isinstance(one, tuple):  # a period, with an end or a duration of its own
            first, end = one
            yield Occurrence(first, first + end if isinstance(end, timedelta) else end)
        else:
            starts.append(one)
    for one in dict.fromkeys(starts):
        if one not in without:
            yield Occurrence(one, one + length)


def length_of(event: Any, start: date | datetime) -> timedelta:  # noqa: ANN401
    """Return how long an event takes; one of a day without an end takes that day."""
    if "DTEND" in event:
        length = event["DTEND"].dt - start
    elif "DURATION" in event:
        length = event["DURATION"].dt
    else:
        length = timedelta() if isinstance(start, datetime) else DAY
    if not isinstance(length, timedelta) or length < timedelta():
        message = "it ends before it begins; write a later DTEND"
        raise ValueError(message)
    return length


def starts_by(
    rule: Any,  # noqa: ANN401
    start: date | datetime,
    *,
    since: datetime,
    until: datetime,
) -> list[date | datetime]:
    """Return when an event begins by one of its rules.

    The rule is followed by the clocks of the event's zone, and its UNTIL and COUNT counted here:
    dateutil wants the former in the zone of the start.
    """
    zone = start.tzinfo if isinstance(start, datetime) else None
    is_day = not isinstance(start, datetime)
    wall = (
        start.replace(tzinfo=None)
        if isinstance(start, datetime)
        else datetime.combine(start, time())
    )
    last = until.replace(tzinfo=None) + DAY
    for end in rule.get("UNTIL", []):
        if isinstance(end, datetime):
            end = end.astimezone(zone or UTC).replace(tzinfo=None) if end.tzinfo else end  # noqa: PLW2901
        else:
            end = datetime.combine(end, time.max)  # noqa: PLW2901
        last = min(last, end)
    most = min([*(int(one) for one in rule.get("COUNT", [])), 100_000])
    kept = {name: value for name, value in rule.items() if name not in {"UNTIL", "COUNT"}}
    text = type(rule)(kept).to_ical().decode()
    early = since.replace(tzinfo=None) - 366 * DAY
    found: list[date | datetime] = []
    for at in bounded(text, wall, last):
        if most <= 0 or len(found) > MAX_OCCURRENCES:
            break
        most -= 1
        if at >= early:
            found.append(at.date() if is_day else at.replace(tzinfo=zone))
    return found


def bounded(text: str, start: datetime, last: datetime) -> Iterator[datetime]:
    """Follow a rule up to an instant, even if it has no occurrence at all.

    dateutil looks at its `until` only where the rule occurs, and else goes on to the year 9999. As
    dateutil asks for the weeks of a rule once in each year that it comes to, it is ended there.
    """
    from dateutil.rrule import rrule, rrulestr  # noqa: PLC0415 - as icalendar

    plain = rrulestr(text, dtstart=start)
    years = max(last.year - start.year, 0) + 2

    class Over(Exception):
        pass

    class Bounded(rrule):  # type: ignore[misc] # dateutil has no types
        weeks = plain._byweekno  # noqa: SLF001 - see above
        left = years

        @property
        def _byweekno(self) -> Any:  # noqa: ANN401
            self.left -= 1
            if self.left < -1:
                raise Over
            return self.weeks

        @_byweekno.setter
        def _byweekno(self, _: Any) -> None:  # noqa: ANN401
            pass

    rule = Bounded.__new__(Bounded)
    rule.__dict__.update(
        {name: value for name, value in vars(plain).items() if name != "_byweekno"}
    )
    try:
        for at in rule:
            if at > last:
                return
            yield at
    except Over:
        return
