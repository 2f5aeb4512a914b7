"""How many runs each hour of the coming week has, and each minute of its hours, and by whom.

Schedules are counted, not jobs, from what their crons allow on each day; so a week of a million
jobs takes as long as that of their few hundred schedules. It is a picture, and no plan:
`max_runs`, skips and calendars are left out, and jitter is taken as spread evenly.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from uuid import UUID

from msgspec import Struct

from app.core.jobs.identity import EPOCH, NIL
from app.core.schedule.cron_parser import parse
from app.core.schedule.schedule import Schedule, form_errors
from app.core.schedule.zones import zone_named
from app.errors import InvalidInput

HOUR = timedelta(hours=1)
HOURS = 7 * 24
MINUTES = 60
EVERY = -1
"""Stands for every hour, where a number of one is expected."""


Amounts = defaultdict[int, float]
Counts = tuple[Amounts, Amounts]


class Crowd(Struct, frozen=True, kw_only=True):
    """Jobs with the same schedule."""

    schedule: Schedule
    at: datetime | None = None
    """When a one-off runs."""
    anchor: datetime
    """A run of the schedule, from which an interval is counted."""
    next_run: datetime
    """When the first of the jobs runs, from now on."""
    jobs: float
    ids: Sequence[UUID] = ()
    """Some of the jobs, where the cron has an `H`, which means other times for each."""
    names: Sequence[str] = ()
    """What some of the jobs are called."""


class Maker(Struct, frozen=True, kw_only=True):
    """Jobs that have runs in an hour."""

    crowd: Crowd
    runs: float


class Heat(Struct, frozen=True, kw_only=True):
    """The coming week by hours, and by the minutes of all its hours."""

    start: datetime
    """The beginning of the first hour, that of now."""
    hours: Sequence[float]
    minutes: Sequence[float]
    makers: dict[int, Sequence[Maker]]
    """Whose runs the busiest hours have, by the number of the hour; the most first."""
    left_out: float
    """Jobs with rarer schedules that were not counted, as there are too many schedules."""

    @property
    def busiest(self) -> Sequence[int]:
        """The numbers of the hours that have makers, the busiest first."""
        return sorted(self.makers, key=lambda hour: -self.hours[hour])


class Hours:
    """Counts the runs of one crowd after the other."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.start = now.replace(minute=0, second=0, microsecond=0)
        self.hours = [0.0] * HOURS
        self.minutes = [0.0] * MINUTES
        self.steady = 0.0
        """Runs that every hour has."""
        self.makers: defaultdict[int, list[tuple[float, int, Crowd]]] = defaultdict(list)
        """Whose runs each hour has; the number in the middle tells equals apart."""
        self.steps = 0

    def add(self, crowd: Crowd, runs: Amounts, minutes: Amounts) -> None:
        """Count runs by the hour, and by the minute of the hour."""
        self.steps += len(runs) + len(minutes)
        for hour, many in runs.items():
            if hour == EVERY:
                self.steady += many
                self.makers[EVERY].append((many, self.steps, crowd))
            elif 0 <= hour < HOURS:
                self.hours[hour] += many
                self.makers[hour].append((many, self.steps, crowd))
        for minute, many in minutes.items():
            self.minutes[minute] += many

    def number(self, at: datetime) -> int:
        """Return the number of the hour that holds an instant."""
        return (at - self.start) // HOUR


def heat_of(crowds: Sequence[Crowd], *, now: datetime, most: int, named: int, each: int) -> Heat:
    """Count the runs of a week from `now`, in about `most` steps.

    The `named` busiest hours have up to `each` makers.
    """
    counted = Hours(now.astimezone(UTC))
    left_out = 0.0
    for crowd in sorted(crowds, key=lambda one: -one.jobs):
        if counted.steps >= most:
            left_out += crowd.jobs
            continue
        try:
            for runs, minutes in parts(crowd, counted):
                counted.add(crowd, *spread(crowd.schedule, runs, minutes))
        except InvalidInput:  # its page says what is wrong
            continue
    hours = [runs + counted.steady for runs in counted.hours]
    busiest = nlargest(named, range(HOURS), key=lambda hour: hours[hour])
    return Heat(
        start=counted.start,
        hours=hours,
        minutes=counted.minutes,
        makers={
            hour: [
                Maker(crowd=crowd, runs=runs)
                for runs, _, crowd in nlargest(each, counted.makers[hour] + counted.makers[EVERY])
            ]
            for hour in busiest
            if hours[hour]
        },
        left_out=left_out,
    )


def parts(crowd: Crowd, of: Hours) -> Iterator[Counts]:
    """Count the runs of a crowd by the hour and by the minute; an `H` makes several parts.

    Raises:
        InvalidInput: the schedule cannot be read.
    """
    schedule = crowd.schedule
    if crowd.at is not None:
        at = max(crowd.at, of.now)
        yield (
            defaultdict(float, {of.number(at): crowd.jobs}),
            defaultdict(float, {at.minute: crowd.jobs}),
        )
    elif any(form_errors(schedule)):
        return
    elif schedule.every_seconds is not None:
        yield of_interval(crowd, schedule.every_seconds, of)
    else:
        ids = crowd.ids or (NIL,)
        for id in ids:
            yield of_cron(crowd, id, crowd.jobs / len(ids), of)


def of_interval(crowd: Crowd, every: float, of: Hours) -> Counts:
    """Count the runs of an interval; a short one is the same in each hour."""
    hours: Amounts = defaultdict(float)
    minutes: Amounts = defaultdict(float)
    anchor = crowd.anchor
    if every >= HOUR.total_seconds():
        step = timedelta(seconds=every)
        at = anchor + step * max(-((anchor - of.now) // step), 0)
        while (number := of.number(at)) < HOURS:
            hours[number] += crowd.jobs
            minutes[at.minute] += crowd.jobs
            at += step
        return hours, minutes
    an_hour = HOUR.total_seconds() / every * crowd.jobs
    hours[EVERY] = an_hour
    whole = every % MINUTES == 0 and HOUR.total_seconds() % every == 0
    phase = int((anchor - EPOCH).total_seconds() // MINUTES)
    those = (
        {(phase + minute) % MINUTES for minute in range(0, MINUTES, int(every) // MINUTES)}
        if whole
        else range(MINUTES)
    )
    minutes.update(dict.fromkeys(those, an_hour * HOURS / len(those)))
    return hours, minutes


def of_cron(crowd: Crowd, id: UUID, jobs: float, of: Hours) -> Counts:
    """Count the runs of a cron from the days, hours and minutes that it allows."""
    schedule = crowd.schedule
    cron = parse(schedule.cron or "", job_id=id)
    zone = zone_named(schedule.timezone)
    first, last = max(of.now, schedule.starts_at or of.now), of.start + HOURS * HOUR
    last = min(last, schedule.ends_at or last)
    hours: Amounts = defaultdict(float)
    minutes: Amounts = defaultdict(float)
    weight = jobs * len(cron.seconds)
    for day in cron.dates(first.astimezone(zone).date(), last.astimezone(zone).date()):
        for hour in cron.hours:
            wall = datetime(day.year, day.month, day.day, hour, tzinfo=zone)
            begins = wall.astimezone(UTC)
            if begins >= last or begins + HOUR <= first:
                continue
            if begins >= first and begins.minute == 0:
                hours[of.number(begins)] += weight * len(cron.minutes)
                for minute in cron.minutes:
                    minutes[minute] += weight
                continue
            for minute in cron.minutes:  # the hour of now, and zones half an hour apart
                at = begins + timedelta(minutes=minute)
                if first <= at < last:
                    hours[of.number(at)] += weight
                    minutes[at.minute] += weight
    return hours, minutes


def spread(schedule: Schedule, hours: Amounts, minutes: Amounts) -> Counts:
    """Spread runs over the time by which their jitter delays them."""
    seconds = schedule.jitter_seconds or 0.0
    if schedule.jitter_percent and len(hours) > 1:
        gap = HOURS * HOUR.total_seconds() / max(sum(hours.values()) / max(hours.values()), 1)
        seconds = gap * schedule.jitter_percent / 100
    if seconds < MINUTES or not hours:
        return hours, minutes
    many = int(seconds // MINUTES) + 1
    among = min(many, MINUTES)
    spread_minutes: Amounts = defaultdict(float)
    for minute, runs in minutes.items():
        for delay in range(among):
            spread_minutes[(minute + delay) % MINUTES] += runs / among
    wide = -(-many // MINUTES)
    if wide == 1:
        return hours, spread_minutes
    spread_hours: Amounts = defaultdict(float)
    for hour, runs in hours.items():
        for delay in range(wide):
            spread_hours[hour + delay] += runs / wide
    return spread_hours, spread_minutes
