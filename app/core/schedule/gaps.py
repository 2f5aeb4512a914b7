"""How often a schedule runs: the shortest time from one run to the next."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import pairwise
from uuid import UUID

from app.core.schedule.cron import DAY, Cron
from app.core.schedule.cron_parser import parse
from app.core.schedule.schedule import Schedule

YEARS = 8
"""For so many years the days of a cron are compared, from the first that it has on: 29 February is
among them, at least once."""
DAY_SECONDS = DAY.total_seconds()


def shortest_gap(schedule: Schedule, *, job_id: UUID, now: datetime) -> float | None:
    """Return the seconds between the two runs of a valid schedule that are nearest to each other.

    None for a one-off, and for a cron that has one run. A cron is judged by the clock on the wall:
    what a change of the clocks makes of its runs, twice a year, does not count.
    """
    if schedule.cron is None:
        return schedule.every_seconds
    gaps = [*gaps_of(parse(schedule.cron, job_id=job_id), now=now)]
    return min(gaps, default=None)


def gaps_of(cron: Cron, *, now: datetime) -> Iterator[float]:
    """Yield the shortest gap within a minute, within an hour, within a day, and between days.

    Times of a day are all combinations of its seconds, minutes and hours: the last one of a minute
    and the first one of the next are therefore as far apart in each pair of minutes.
    """
    span = 0.0
    for values, unit in ((cron.seconds, 1.0), (cron.minutes, 60.0), (cron.hours, 3600.0)):
        if nearest := nearest_of(values):
            yield nearest * unit - span
        span += (values[-1] - values[0]) * unit
    if apart := days_apart(cron, now=now):
        yield apart * DAY_SECONDS - span


def nearest_of(values: Sequence[int]) -> int | None:
    """Return the shortest distance in ascending values; None for a single one."""
    return min((later - value for value, later in pairwise(values)), default=None)


def days_apart(cron: Cron, *, now: datetime) -> int | None:
    """Return the shortest distance of days that match, in days; None for a single one."""
    today = now.date() - DAY  # it may be yesterday still, where the cron is
    years = [year for year in cron.years if year >= today.year][: YEARS + 1]
    if not years:
        return None
    shortest = None
    for day, later in pairwise(
        cron.dates(max(today, date(years[0], 1, 1)), date(years[-1], 12, 31))
    ):
        distance = (later - day).days
        shortest = distance if shortest is None else min(shortest, distance)
        if shortest == 1:
            break
    return shortest
