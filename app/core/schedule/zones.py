"""Time zones as stretches of real time with a constant offset: where wall clocks can be trusted.

Two kinds of datetime meet in these modules: an *instant* is aware and in UTC, a *wall time* is
naive and what a clock on the wall of some zone shows. Only a `Stretch` turns one into the other.
"""

import re
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from operator import attrgetter
from zoneinfo import ZoneInfo

from msgspec import Struct

from app.core.schedule.zone_rules import AUTO, Rules, chosen
from app.errors import FieldError, InvalidInput

OFFSET = re.compile(
    r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?00)?", re.ASCII | re.IGNORECASE
)
MAX_HOURS = 12
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
"""What people write who mean the clocks of a place; names that look alike would be others."""
SAMPLING = timedelta(days=3)
"""No zone changes its offset twice within this: the nearest two changes are almost 7 days apart."""
SECOND = timedelta(seconds=1)


class Change(Struct, frozen=True, kw_only=True):
    """A zone's offset from UTC becomes another at the instant `at`."""

    at: datetime
    before: timedelta
    after: timedelta


class Stretch(Struct, frozen=True, kw_only=True):
    """Real time [start, end) during which a zone's offset from UTC stays the same."""

    start: datetime
    end: datetime
    offset: timedelta
    before: timedelta
    """The offset until `start`: smaller after a gap, larger after an overlap."""
    after: timedelta
    """The offset from `end` on."""

    @property
    def wall_before(self) -> datetime:
        """What clocks showed at `start` just before they were changed.

        Wall times from this one to `wall(start)` are left out; those from `wall(start)` to this
        one happen for the second time.
        """
        return (self.start + self.before).replace(tzinfo=None)

    @property
    def wall_after(self) -> datetime:
        """What clocks show at `end` when they are changed; what is later here happens again."""
        return (self.end + self.after).replace(tzinfo=None)

    def wall(self, instant: datetime) -> datetime:
        """Tell what a clock with this stretch's offset shows at `instant`."""
        return (instant + self.offset).replace(tzinfo=None)

    def instant(self, wall: datetime) -> datetime:
        """Tell when a clock with this stretch's offset shows `wall`."""
        return (wall - self.offset).replace(tzinfo=UTC)


class InUse:
    """The time zone rules that this process goes by: one set for all, as for its locale."""

    rules: Rules | None = None


def use_rules(setting: str) -> Rules:
    """Go by the rules that `TOCSIN_TZDATA` asks for; called once, at the start of a process.

    Raises:
        InvalidSettings: they are not on this machine.
    """
    InUse.rules = chosen(setting)
    return InUse.rules


def rules_in_use() -> Rules:
    """Return the rules that this process goes by: the newest, unless it was told otherwise."""
    return InUse.rules or use_rules(AUTO)


def zone_named(timezone: str, rules: Rules | None = None) -> ZoneInfo:
    """Find an IANA zone.

    Raises:
        InvalidInput: there is none of this name; close matches are suggested.
    """
    rules = rules or rules_in_use()
    zone = rules.zone(timezone)
    if zone is None:
        raise InvalidInput(FieldError(field="timezone", message=unknown_zone(timezone, rules)))
    return zone


def unknown_zone(timezone: str, rules: Rules) -> str:
    """Word the refusal of a zone, with what may have been meant."""
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
    """Name the zone of a fixed offset: its sign is that of POSIX, so what is east reads -."""
    place = "write a place, such as Europe/Helsinki, whose clocks change with its laws"
    if hours > MAX_HOURS:
        return place
    name = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if hours else "UTC"
    return f"{place}, or {name} for this offset all the year"


def changes(timezone: str, year: int, rules: Rules | None = None) -> tuple[Change, ...]:
    """List the changes of offset in one year of UTC; zoneinfo has them but does not show them."""
    return changes_by(rules or rules_in_use(), timezone, year)


@lru_cache(maxsize=4096)
def changes_by(rules: Rules, timezone: str, year: int) -> tuple[Change, ...]:
    """List the changes of offset that these rules have in one year of UTC."""
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
    """Tell the offset from UTC at an instant."""
    return instant.astimezone(zone).replace(tzinfo=UTC) - instant


def moment_of_change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Search the first second with the offset of `high`, which is not that of `low`."""
    before = offset_at(zone, low)
    seconds = range(int((high - low).total_seconds()))
    same = bisect_left(seconds, 1, key=lambda n: offset_at(zone, low + n * SECOND) != before)
    return low + same * SECOND


def stretch_at(timezone: str, instant: datetime, rules: Rules | None = None) -> Stretch:
    """Find the stretch that holds `instant`.

    One that goes on for years is cut, at a moment with no change for a month to either side.
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
