"""The instants of recurring schedules: of intervals, and of crons in a time zone.

Both answer the same three questions about the runs in [start, stop): first, last, how many.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from app.core.schedule.cron import Cron
from app.core.schedule.zone_rules import Rules
from app.core.schedule.zones import Stretch, stretch_at

TICK = timedelta(microseconds=1)
"""The least difference of two instants, in Python as in Postgres."""


class Span(Struct, frozen=True):
    """The time [start, end)."""

    start: datetime
    end: datetime


def without(times: Iterable[Span], closed: Iterable[Span]) -> list[Span]:
    """Return spans without the time of others; both are in order, and none of them overlap."""
    left = []
    rest = [*times][::-1]
    for gap in closed:
        while rest and rest[-1].start < gap.end:
            span = rest.pop()
            if span.start < gap.start:
                left.append(Span(span.start, min(span.end, gap.start)))
            if span.end > gap.end:
                rest.append(Span(gap.end, span.end))
    return left + rest[::-1]


class DstGap(StrEnum):
    """When a cron of fixed times runs whose wall time is skipped by the clocks of its zone."""

    RUN_AFTER = "run_after"
    SKIP = "skip"


class DstOverlap(StrEnum):
    """When a cron of fixed times runs whose wall time happens twice in its zone."""

    FIRST = "first"
    LAST = "last"
    BOTH = "both"


class Interval(Struct, frozen=True, kw_only=True):
    """The instants `anchor`, `anchor + every`, and so on."""

    anchor: datetime
    every: timedelta

    def first(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the earliest instant in [start, stop)."""
        instant = self.anchor + self.every * self.before(start)
        return instant if instant < stop else None

    def last(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the latest instant in [start, stop)."""
        instant = self.anchor + self.every * (self.before(stop) - 1)
        return instant if self.anchor <= instant and start <= instant else None

    def count(self, start: datetime, stop: datetime, *, limit: int) -> int:
        """Count the instants in [start, stop), up to `limit`."""
        return min(max(self.before(stop) - self.before(start), 0), limit)

    def before(self, instant: datetime) -> int:
        """Count the instants before `instant`."""
        return max(-((self.anchor - instant) // self.every), 0)


class ZonedCron(Struct, frozen=True, kw_only=True):
    """The instants at which the clocks of a zone show a time that matches a cron.

    A cron of fixed times means these times of every day: `gap` and `overlap` decide about times
    that the zone's clocks skip or repeat. Any other cron means an interval and follows real time:
    no runs in a gap, and runs in both passes of an overlap.
    """

    cron: Cron
    timezone: str
    gap: DstGap
    overlap: DstOverlap
    rules: Rules | None = None
    """The time zone rules; None stands for those in use."""

    def first(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the earliest run in [start, stop)."""
        stop = min(stop, datetime(self.cron.years[-1] + 1, 1, 2, tzinfo=UTC))
        while start < stop:
            stretch = self.stretch_at(start)
            if start <= stretch.start and self.lands(stretch):
                return stretch.start
            wall = self.cron.first_wall(*self.walls(stretch, start, stop))
            if wall is not None:
                return stretch.instant(wall)
            start = stretch.end
        return None

    def last(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the latest run in [start, stop)."""
        while start < stop:
            stretch = self.stretch_at(stop - TICK)
            wall = self.cron.last_wall(*self.walls(stretch, start, stop))
            if wall is not None:
                return stretch.instant(wall)
            if start <= stretch.start and self.lands(stretch):
                return stretch.start
            stop = stretch.start
        return None

    def count(self, start: datetime, stop: datetime, *, limit: int) -> int:
        """Count the runs in [start, stop), up to `limit`."""
        count = 0
        while start < stop and count < limit:
            stretch = self.stretch_at(start)
            count += self.cron.count_walls(*self.walls(stretch, start, stop))
            if start <= stretch.start and self.lands(stretch):
                landing = stretch.wall(stretch.start)
                # A regular run may be due at the same instant as the runs skipped by the gap.
                count += self.cron.first_wall(landing, landing + TICK) is None
            start = stretch.end
        return min(count, limit)

    def stretch_at(self, instant: datetime) -> Stretch:
        """Find the stretch of the zone that holds `instant`."""
        return stretch_at(self.timezone, instant, self.rules)

    def walls(self, stretch: Stretch, start: datetime, stop: datetime) -> tuple[datetime, datetime]:
        """Return the bounds of the wall times of [start, stop) that count in this stretch."""
        low = stretch.wall(max(start, stretch.start))
        high = stretch.wall(min(stop, stretch.end))
        if self.cron.fixed_times and self.overlap is DstOverlap.FIRST:
            low = max(low, stretch.wall_before)
        if self.cron.fixed_times and self.overlap is DstOverlap.LAST:
            high = min(high, stretch.wall_after)
        return low, high

    def lands(self, stretch: Stretch) -> bool:
        """Return whether a run skipped by the gap before this stretch is due at its start."""
        if not self.cron.fixed_times or self.gap is DstGap.SKIP:
            return False
        return self.cron.first_wall(stretch.wall_before, stretch.wall(stretch.start)) is not None
