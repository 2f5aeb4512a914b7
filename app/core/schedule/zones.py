"""Time zones as stretches of real time, in each of which the offset from UTC is constant.

Two kinds of datetime are told apart: an *instant* is aware and in UTC; a *wall time* is naive, and
is what a clock on a wall of some zone shows. Only a `Stretch` converts one into the other.
"""

import re
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from operator import attrgetter
from zoneinfo import ZoneInfo

from msgspec import Struct

from app.core.schedule.zone_rules import AUTO, Rules, choose_rules
from app.errors import FieldError, InvalidInput

OFFSET = re.compile(
    r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?00)?", re.ASCII | re.IGNORECASE
)
MAX_HOURS = 12
"""The largest offset of the zones `Etc/GMT±N` in both directions."""
ABBREVIATIONS = {
    "LOCALTIME": "each machine has its own: write a place such as Europe/Paris, or UTC",
    "PST": "did you mean America/Los_Angeles?",
    "PDT": "did you mean America/Los_Angeles?",
    "PT": "did you mean America/Los_Angeles?",
    "MDT": "did you mean America/Denver?",
    "MT": "did you mean America/Denver?",
    "CT": "did you mean America/Chicago?",
    "CDT": "did you mean America/Chicago?",
    "EDT": "did you mean America/New_York?",
    "ET": "did you mean America/New_York?",
    "CST": "did you mean America/Chicago or Asia/Shanghai?",
    "BST": "did you mean Europe/London?",
    "CEST": "did you mean Europe/Paris or Europe/Berlin?",
    "EEST": "did you mean Europe/Athens or Europe/Helsinki?",
    "JST": "did you mean Asia/Tokyo?",
    "AEST": "did you mean Australia/Sydney or Australia/Brisbane?",
    "Z": "did you mean UTC?",
}
"""Abbreviations that are no IANA names, and the hint for each.

Suggesting the most similar IANA name, as for other mistakes, would mislead here.
"""
SAMPLING = timedelta(days=3)
"""Distance of the instants at which a zone's offset is compared.

No zone changes twice within it: the two nearest changes are almost seven days apart.
"""
SECOND = timedelta(seconds=1)


class Change(Struct, frozen=True, kw_only=True):
    """A change of a zone's offset from UTC, at the instant `at`."""

    at: datetime
    before: timedelta
    after: timedelta


class Stretch(Struct, frozen=True, kw_only=True):
    """A span of real time [start, end) during which a zone's offset from UTC is constant."""

    start: datetime
    end: datetime
    offset: timedelta
    before: timedelta
    """The offset until `start`: smaller than `offset` after a gap, larger after an overlap."""
    after: timedelta
    """The offset from `end` on."""

    @property
    def wall_before(self) -> datetime:
        """What clocks showed at `start`, just before they changed.

        After a gap, the wall times from this one to `wall(start)` were skipped. After an overlap,
        those from `wall(start)` to this one happen a second time.
        """
        return (self.start + self.before).replace(tzinfo=None)

    @property
    def wall_after(self) -> datetime:
        """What clocks show at `end`, just after they changed; later wall times here repeat."""
        return (self.end + self.after).replace(tzinfo=None)

    def wall(self, instant: datetime) -> datetime:
        """Return what a clock with this stretch's offset shows at `instant`."""
        return (instant + self.offset).replace(tzinfo=None)

    def instant(self, wall: datetime) -> datetime:
        """Return the instant at which a clock with this stretch's offset shows `wall`."""
        return (wall - self.offset).replace(tzinfo=UTC)


class InUse:
    """The time zone rules of this process: global, as its locale is."""

    rules: Rules | None = None
    setting: str = AUTO
    """The rules that were asked for, so that other processes can be told of them."""


def use_rules(setting: str) -> Rules:
    """Set the rules of this process to those that `TOCSIN_TZDATA` asks for, once, at its start.

    Raises:
        InvalidSettings: this machine does not have these rules.
    """
    InUse.rules = choose_rules(setting)
    InUse.setting = setting
    return InUse.rules


def rules_in_use() -> Rules:
    """Return the rules of this process: the newest on this machine, unless others were set."""
    return InUse.rules or use_rules(AUTO)


def zone_named(timezone: str, rules: Rules | None = None) -> ZoneInfo:
    """Find an IANA zone.

    Raises:
        InvalidInput: no zone has this name; the message suggests similar names.
    """
    rules = rules or rules_in_use()
    zone = rules.zone(timezone)
    if zone is None:
        raise InvalidInput(FieldError(field="timezone", message=unknown_zone(timezone, rules)))
    return zone


def unknown_zone(timezone: str, rules: Rules) -> str:
    """Word the refusal of a zone, with suggestions."""
    if fixed := OFFSET.fullmatch(timezone):
        return f"{timezone!r} is no time zone; {fixed_offset(fixed['sign'], int(fixed['hours']))}"
    meant = ABBREVIATIONS.get(timezone.upper(), "")
    if not meant:
        known = {name.lower(): name for name in rules.names if name != "localtime"}
        close = get_close_matches(timezone.lower()[:64], known, n=3)
        meant = f"did you mean {' or '.join(known[name] for name in close)}?" if close else ""
    remedy = meant or "write an IANA name such as Europe/Paris, America/New_York or UTC"
    return f"{timezone[:64]!r} is no time zone; {remedy}"


def fixed_offset(sign: str, hours: int) -> str:
    """Suggest the zone of a fixed offset; as in POSIX, the name of an eastern one has a minus."""
    place = "write a place, such as Europe/Helsinki, whose clocks change with its laws"
    if hours > MAX_HOURS:
        return place
    name = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if hours else "UTC"
    return f"{place}, or {name} for this offset all the year"


def changes(timezone: str, year: int, rules: Rules | None = None) -> tuple[Change, ...]:
    """List a zone's changes of offset in one year of UTC, found by sampling.

    zoneinfo has a list of them, but not in its interface.
    """
    return changes_by(rules or rules_in_use(), timezone, year)


@lru_cache(maxsize=4096)
def changes_by(rules: Rules, timezone: str, year: int) -> tuple[Change, ...]:
    """List a zone's changes of offset, by these rules, in one year of UTC."""
    zone = zone_named(timezone, rules)
    end = datetime(year + 1, 1, 1, tzinfo=UTC) - SECOND
    low = datetime(year, 1, 1, tzinfo=UTC) - SECOND  # a change at midnight belongs to the new year
    before = offset_at(zone, low)
    found = []
    while low < end:
        high = min(low + SAMPLING, end)
        after = offset_at(zone, high)
        if after != before:
            found.append(Change(at=moment_of_change(zone, low, high), before=before, after=after))
        low, before = high, after
    return tuple(found)


def offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    """Return the offset from UTC of a zone at an instant."""
    return instant.astimezone(zone).replace(tzinfo=UTC) - instant


def moment_of_change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Find the first second after `low` with the offset that the zone has at `high`."""
    before = offset_at(zone, low)
    seconds = range(int((high - low).total_seconds()))
    same = bisect_left(seconds, 1, key=lambda n: offset_at(zone, low + n * SECOND) != before)
    return low + same * SECOND


def stretch_at(timezone: str, instant: datetime, rules: Rules | None = None) -> Stretch:
    """Find the stretch of a zone that contains `instant`.

    A stretch of many years is cut to about three, at instants at least a month from any change.
    """
    year = instant.year
    rules = rules or rules_in_use()
    years = (year - 1, year, year + 1)
    near = [change for y in years for change in changes_by(rules, timezone, y)]
    following = bisect_right(near, instant, key=attrgetter("at"))
    last = near[following - 1] if following > 0 else None
    coming = near[following] if following < len(near) else None
    if last is not None:
        offset = last.after
    elif coming is not None:
        offset = coming.before
    else:
        offset = offset_at(zone_named(timezone, rules), instant)
    return Stretch(
        start=last.at if last else datetime(year - 1, 2, 1, tzinfo=UTC),
        end=coming.at if coming else datetime(year + 1, 12, 1, tzinfo=UTC),
        offset=offset,
        before=last.before if last else offset,
        after=coming.after if coming else offset,
    )
