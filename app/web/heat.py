"""The picture of the coming week: how many runs each hour and minute has, and who makes them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from msgspec import Struct

from app.core.schedule.heat import HOUR, HOURS, Crowd, Heat, heat_of
from app.db import heat
from app.db.clock import PolledClock
from app.db.database import Database
from app.web.words import duration, number

KEPT_SECONDS = 60.0
"""How old the picture may be; schedules rarely change. It is shown for as long again while it is
counted anew."""
PATIENCE_SECONDS = 2.0
"""How long the first visitor's page waits for the picture."""
MAX_STEPS = 150_000
"""Counts that are added up: a tenth of a second's work."""
NAMED, MAKERS, SHOWN = 24, 3, 3
"""How many of the busiest hours are examined, how many schedules are named for each, and how many
hours are shown."""
TIERS = 5
"""Into how many shades the runs of an hour are told apart, above none."""
CROWDED = 4
"""An hour with so many times the runs of the median hour is worth spreading."""
LEAST = 3
"""The median hour counts as having at least so many runs, so that few jobs crowd nothing."""


class Week(Struct, frozen=True, kw_only=True):
    """The runs of the coming week."""

    at: datetime
    heat: Heat
    is_sample: bool
    """Whether only some of the jobs were read, and counted for all."""
    crowds: Sequence[Crowd] = ()
    """The jobs by schedule, as far as there were not too many schedules."""
    is_whole: bool = True
    """Whether these are all schedules."""

    @property
    def most(self) -> float:
        """The runs of the busiest hour."""
        return max(self.heat.hours)

    @property
    def steady(self) -> float:
        """The runs that every hour has at the least, but for that of now, which has begun."""
        return min(self.heat.hours[1:])

    @property
    def is_crowded(self) -> bool:
        """Whether some hour has many times the runs of the usual one."""
        usual = sorted(self.heat.hours)[HOURS // 2]
        return self.most > CROWDED * max(usual, LEAST)


class Cell(Struct, frozen=True, kw_only=True):
    """An hour of the week."""

    at: datetime
    runs: int
    tier: int
    """From 0, none but what runs all the time, to `TIERS`, as many as the busiest hour has."""


class Day(Struct, frozen=True, kw_only=True):
    """The hours of a day of the week, by the clocks of a zone."""

    name: str
    cells: Sequence[Cell | None]

    @property
    def begin(self) -> datetime:
        """When the first of the hours begins that are shown."""
        return min(cell.at for cell in self.cells if cell)


class Busy(Struct, frozen=True, kw_only=True):
    """Some of the busiest hours, and who makes them."""

    at: datetime
    """When the first of them begins, by the clocks that the week is laid out by."""
    more: int
    """How many further ones the same schedules make."""
    runs: int
    makers: Sequence[tuple[str, str, Sequence[str]]]
    """Of each: how many runs, the schedule, and what some of the jobs are called."""


async def read_week(db: Database, clock: PolledClock) -> Week:
    """Count the runs of the coming week."""
    now = await clock.now()
    found = await heat.list_crowds(db, now=now, until=now + HOURS * HOUR)
    counted = await asyncio.to_thread(
        heat_of, found.crowds, now=now, most=MAX_STEPS, named=NAMED, each=MAKERS
    )
    return Week(
        at=now,
        heat=counted,
        is_sample=found.is_sample,
        crowds=found.crowds,
        is_whole=len(found.crowds) < heat.MAX_CROWDS,
    )


def tier(runs: float, most: float, steady: float = 0.0) -> int:
    """Return how busy an hour is, from 0 to `TIERS`: as busy as the busiest.

    The runs that every hour has (`steady`) are left out, as they would hide the differences.
    """
    above = runs - steady
    return 0 if round(above) <= 0 else -int(-TIERS * above / (most - steady) // 1)


def days(week: Week, zone: tzinfo) -> list[Day]:
    """Lay the hours out by day and hour of a zone, from today on.

    The hours of today that have passed show those of the same day in a week. An hour that clocks
    show twice has the runs of both.
    """
    rows: dict[int, list[Cell | None]] = {}
    for number_, counted in enumerate(week.heat.hours):
        at, runs = (week.heat.start + number_ * HOUR).astimezone(zone), counted
        cells = rows.setdefault(at.weekday(), [None] * 24)
        shade = tier(runs, week.most, week.steady)
        if shown := cells[at.hour]:
            if shown.at.date() != at.date():
                continue  # clocks have skipped an hour, so that the last is that of now in a week
            at, runs = shown.at, counted + week.heat.hours[number_ - 1]
            shade = max(shade, shown.tier)
        cells[at.hour] = Cell(at=at, runs=round(runs), tier=shade)
    return [Day(name=name_of(weekday), cells=cells) for weekday, cells in rows.items()]


def name_of(weekday: int) -> str:
    return ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[weekday]


def busiest(week: Week, zone: tzinfo) -> list[Busy]:
    """Name the busiest hours and who makes them; those of the same schedules together."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for hour in week.heat.busiest:
        makers = tuple(called(one.crowd) for one in week.heat.makers[hour])
        alike.setdefault(makers, []).append(hour)
    return [
        Busy(
            at=(week.heat.start + min(hours) * HOUR).astimezone(zone),
            more=len(hours) - 1,
            runs=round(week.heat.hours[hours[0]]),
            makers=[
                (number(round(one.runs)), called(one.crowd), one.crowd.names)
                for one in week.heat.makers[hours[0]]
            ],
        )
        for hours in [*alike.values()][:SHOWN]
    ]


def called(crowd: Crowd) -> str:
    """Name a schedule in short."""
    if crowd.at is not None:
        return f"once, {crowd.at.astimezone(UTC):%H:%M} UTC"
    if crowd.schedule.every_seconds is not None:
        return f"every {duration(crowd.schedule.every_seconds)}"
    zone = crowd.schedule.timezone
    return f"{crowd.schedule.cron}{'' if zone == 'UTC' else f' {zone}'}"
