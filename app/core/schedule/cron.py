"""A cron as sets of values, and the wall times that match them; `occurrences` adds the time zone.

croniter could iterate too, but only one match forward or back, and wrongly at the end of a month,
with `#` and at the end of a list of years. With sets of values one can also count and jump.
"""

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from msgspec import Struct

DAY = timedelta(days=1)
LAST = -1
"""Stands in `Cron.nth_weekdays` for the last such weekday of a month."""


class Cron(Struct, frozen=True, kw_only=True):
    """The values that each field allows, ascending; a day's times are all their combinations."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    last_day: bool
    """Whether the last day of a month is allowed too, whatever its number."""
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    nth_weekdays: frozenset[tuple[int, int]]
    """(5, 3) is the third Friday of a month, (5, LAST) its last."""
    years: Sequence[int]
    either_day: bool
    """Whether both day fields are restricted; then a day that one of them allows matches."""
    fixed_times: bool
    """Whether minute and hour are plain numbers: such a cron means these times, not an interval."""

    @property
    def times_a_day(self) -> int:
        """Count the times on a day that matches."""
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def first_wall(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the earliest match in [start, stop)."""
        for day in self.dates(start.date(), stop.date()):
            passed = self.times_before(start.time()) if day == start.date() else 0
            if passed < self.times_a_day:
                wall = datetime.combine(day, self.time_at(passed))
                return wall if wall < stop else None
        return None

    def last_wall(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the latest match in [start, stop)."""
        for day in self.dates(start.date(), stop.date(), backward=True):
            passed = self.times_before(stop.time()) if day == stop.date() else self.times_a_day
            if passed > 0:
                wall = datetime.combine(day, self.time_at(passed - 1))
                return wall if wall >= start else None
        return None

    def count_walls(self, start: datetime, stop: datetime) -> int:
        """Count the matches in [start, stop), by arithmetic on the times of a day."""
        if start >= stop:
            return 0
        count = 0
        for day in self.dates(start.date(), stop.date()):
            count += self.times_a_day
            if day == start.date():
                count -= self.times_before(start.time())
            if day == stop.date():
                count -= self.times_a_day - self.times_before(stop.time())
        return count

    def times_before(self, clock: time) -> int:
        """Count the times of a day that are earlier than `clock`."""
        second = clock.second + (clock.microsecond > 0)
        hours, same_hour = below(self.hours, clock.hour)
        minutes, same_minute = below(self.minutes, clock.minute) if same_hour else (0, False)
        seconds, _ = below(self.seconds, second) if same_minute else (0, False)
        return (hours * len(self.minutes) + minutes) * len(self.seconds) + seconds

    def time_at(self, index: int) -> time:
        """Return the time of a day that has `index` times before it."""
        rest, second = divmod(index, len(self.seconds))
        hour, minute = divmod(rest, len(self.minutes))
        return time(self.hours[hour], self.minutes[minute], self.seconds[second])

    def dates(self, first: date, last: date, *, backward: bool = False) -> Iterator[date]:
        """Walk over the days that match in [first, last], month by month."""
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        for ordinal in reversed(months) if backward else months:
            year, month = ordinal // 12, ordinal % 12 + 1
            days = self.days_of(year, month)
            for number in reversed(days) if backward else days:
                day = date(year, month, number)
                if first <= day <= last:
                    yield day

    def days_of(self, year: int, month: int) -> Sequence[int]:
        """List the days of a month that match."""
        if month not in self.months or year not in self.years:
            return ()
        weekday_before, length = monthrange(year, month)  # of the first day, where 0 is Monday
        by_number = days_by_number(length, self.days, last=self.last_day)
        by_weekday = days_by_weekday(weekday_before, length, self.weekdays, self.nth_weekdays)
        both = by_number | by_weekday if self.either_day else by_number & by_weekday
        return sorted(both)


@lru_cache(maxsize=1024)
def days_by_number(length: int, days: frozenset[int], *, last: bool) -> frozenset[int]:
    """Return the days of a month of so many that are among `days`, or its last one."""
    found = days.intersection(range(1, length + 1))
    return found | {length} if last else found


@lru_cache(maxsize=1024)
def days_by_weekday(
    weekday_before: int,
    length: int,
    weekdays: frozenset[int],
    nth_weekdays: frozenset[tuple[int, int]],
) -> frozenset[int]:
    """Return the days of a month that fall on these weekdays; see `monthrange` and `Cron`."""
    numbers = range(1, length + 1)
    found = {n for n in numbers if (weekday_before + n) % 7 in weekdays}
    found |= {
        n
        for n in numbers
        for weekday, nth in nth_weekdays
        if (weekday_before + n) % 7 == weekday
        and (n + 7 > length if nth == LAST else (n + 6) // 7 == nth)
    }
    return frozenset(found)


def below(values: tuple[int, ...], value: int) -> tuple[int, bool]:
    """Count the sorted `values` smaller than `value`, and tell whether it is among them."""
    index = bisect_left(values, value)
    return index, index < len(values) and values[index] == value
