"""Schedules against an oracle that watches the clocks of a zone, minute by minute.

The oracle knows a cron by the sets of values it was made of, never by its text, and asks zoneinfo
about each single instant; nothing in it is shared with the code under test.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice, takewhile
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.core.schedule.schedule import (
    DstGap,
    DstOverlap,
    Schedule,
    check,
    count_runs,
    first_run,
    latest_run,
    normalized,
    run_after,
)
from app.core.schedule.words import describe
from app.core.schedule.zones import rules_in_use, zone_named
from app.errors import InvalidInput

JOB = UUID("018f3c1e-7a11-7cc0-8000-3f1f4e0c6a42")
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BEGIN = datetime(1990, 1, 1, tzinfo=UTC)
END = datetime(2040, 1, 1, tzinfo=UTC)

AWKWARD_ZONES = [
    "Africa/Cairo",  # summer time given up and taken up again, from one week to the next
    "Africa/Casablanca",  # negative summer time, around Ramadan
    "Africa/Sao_Tome",  # changes within hours of new year in UTC
    "America/Caracas",  # half hours
    "America/New_York",
    "America/Nuuk",  # changes on the evening before
    "America/Recife",  # a summer time of one week
    "America/Santiago",
    "America/Sao_Paulo",  # gaps at midnight
    "America/St_Johns",  # for years one minute past midnight
    "Antarctica/Casey",  # three hours
    "Antarctica/Troll",  # two hours
    "Asia/Dhaka",
    "Asia/Gaza",  # Ramadan again
    "Asia/Kathmandu",  # quarter hours
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Europe/Dublin",  # winter time is the exception
    "Europe/Volgograd",
    "Pacific/Apia",  # lost a day in 2011
    "Pacific/Chatham",
    "Pacific/Kwajalein",  # lost a day in 1993
    "UTC",
]
EVERY_ZONE = rules_in_use().names

SEARCH = settings(
    deadline=None,
    derandomize=True,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# Crons, as texts and as what they mean


@dataclass(frozen=True)
class Values:
    """A field's text and the values it stands for."""

    text: str
    values: frozenset[int]


@dataclass(frozen=True)
class Cron:
    """A cron's text and a judge of wall times that was made without it."""

    text: str
    is_fixed: bool
    matches: Callable[[datetime], bool]
    step: timedelta
    """How far apart the wall times lie that have to be looked at."""


def fields(low: int, high: int) -> st.SearchStrategy[Values]:
    """Make a field of numbers in any shape."""
    numbers, steps = st.integers(low, high), st.integers(1, high - low + 1)
    pairs = st.lists(numbers, min_size=2, max_size=2, unique=True)

    def values(text: str, numbers: Iterable[int]) -> Values:
        return Values(text, frozenset(numbers))

    def span(pair: list[int]) -> Values:
        first, last = pair
        wrapped = [*range(first, high + 1), *range(low, last + 1)]
        return values(f"{first}-{last}", range(first, last + 1) if first < last else wrapped)

    def stepped_span(pair: list[int], step: int) -> Values:
        first, last = pair
        return values(f"{first}-{last}/{step}", range(first, last + 1, step))

    return st.one_of(
        st.just(values("*", range(low, high + 1))),
        numbers.map(lambda n: values(f"{n}", [n])),
        st.lists(numbers, min_size=2, max_size=4).map(lambda some: values(listed(some), some)),
        steps.map(lambda step: values(f"*/{step}", range(low, high + 1, step))),
        st.builds(lambda n, step: values(f"{n}/{step}", range(n, high + 1, step)), numbers, steps),
        pairs.map(span),
        st.builds(stepped_span, pairs.map(sorted), steps),
    )


def listed(numbers: list[int]) -> str:
    return ",".join(str(number) for number in numbers)


def fixed_fields(low: int, high: int) -> st.SearchStrategy[Values]:
    """Make a field of plain numbers."""
    some = st.lists(st.integers(low, high), min_size=1, max_size=3)
    return some.map(lambda numbers: Values(listed(numbers), frozenset(numbers)))


@st.composite
def day_judges(draw: st.DrawFn) -> tuple[str, Callable[[date], bool]]:
    """Make a day of month."""
    if draw(st.booleans()):
        return draw(st.sampled_from(["*", "?"])), lambda _: True
    field = draw(fields(1, 31))
    if draw(st.booleans()) and field.text != "*":
        return f"{field.text},L", lambda day: day.day in field.values or (day + DAY).day == 1
    return field.text, lambda day: day.day in field.values


@st.composite
def weekday_judges(draw: st.DrawFn) -> tuple[str, Callable[[date], bool]]:
    """Make a day of week, where 0 and 7 are Sunday."""
    match draw(st.sampled_from(["star", "star", "numbers", "nth", "last", "names"])):
        case "star":
            return draw(st.sampled_from(["*", "?"])), lambda _: True
        case "numbers":
            field = draw(fields(0, 6))
            return field.text, lambda day: day.isoweekday() % 7 in field.values
        case "names":
            first = draw(st.integers(0, 4))
            names = ["SUN", "mon", "Tue", "WED", "thu", "FRI", "SAT"]
            text = f"{names[first]}-{names[first + 2]}"
            return text, lambda day: first <= day.isoweekday() % 7 <= first + 2
        case "nth":
            weekday, nth = draw(st.integers(0, 7)), draw(st.integers(1, 5))
            return (
                f"{weekday}#{nth}",
                lambda day: (
                    day.isoweekday() % 7 == weekday % 7
                    and (day - nth * 7 * DAY).month != day.month
                    and (day - (nth - 1) * 7 * DAY).month == day.month
                ),
            )
        case _:
            weekday = draw(st.integers(0, 7))
            return (
                f"L{weekday}",
                lambda day: (
                    day.isoweekday() % 7 == weekday % 7 and (day + 7 * DAY).month != day.month
                ),
            )


@st.composite
def crons(draw: st.DrawFn, *, seconds: bool = False) -> Cron:
    """Make a cron; half of them are of fixed times, and most in the hours when clocks change."""
    hours = st.one_of(st.just(3), st.just(23))
    if draw(st.booleans()):
        minute, hour = draw(fixed_fields(0, 59)), draw(fixed_fields(0, draw(hours)))
        is_fixed = True
    else:
        minute, hour = draw(fields(0, 59)), draw(fields(0, 23))
        is_fixed = set("*-/").isdisjoint(minute.text + hour.text)
    month = draw(st.one_of(st.just(Values("*", frozenset(range(1, 13)))), fields(1, 12)))
    day_text, is_day = draw(day_judges())
    weekday_text, is_weekday = draw(weekday_judges())
    either = not (is_open(day_text) or is_open(weekday_text))
    second = draw(fields(0, 59)) if seconds else Values("", frozenset([0]))

    def matches(wall: datetime) -> bool:
        if not (
            wall.second in second.values
            and wall.minute in minute.values
            and wall.hour in hour.values
            and wall.month in month.values
        ):
            return False
        day = wall.date()
        return is_day(day) or is_weekday(day) if either else is_day(day) and is_weekday(day)

    parts = [second.text, minute.text, hour.text, day_text, month.text, weekday_text]
    return Cron(
        text=" ".join(parts).strip(),
        is_fixed=is_fixed,
        matches=matches,
        step=SECOND if seconds else MINUTE,
    )


def is_open(text: str) -> bool:
    """Tell whether a day field leaves the decision to the other one."""
    return any(item in {"*", "?", "*/1"} for item in text.split(","))


# Windows of time


@dataclass(frozen=True)
class Window:
    """Real time [start, stop) in a zone."""

    timezone: str
    start: datetime
    stop: datetime


def offset(zone: ZoneInfo, instant: datetime) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()


@cache
def changes(timezone: str) -> list[datetime]:
    """List the hours in which clocks are changed; one hour of 1990 where they never are."""
    zone = zone_named(timezone)
    days = [BEGIN + n * DAY for n in range((END - BEGIN).days)]
    changed = [day for day in days if offset(zone, day) != offset(zone, day + DAY)]
    hours = [day + n * HOUR for day in changed for n in range(24)]
    return [hour for hour in hours if offset(zone, hour) != offset(zone, hour + HOUR)] or [BEGIN]


@st.composite
def turns(draw: st.DrawFn, zones: list[str], *, around: timedelta) -> Window:
    """Choose a time around a change of clocks."""
    timezone = draw(st.sampled_from(zones))
    hour = draw(st.sampled_from(changes(timezone)))
    return Window(timezone, hour - around, hour + HOUR + around)


@st.composite
def calm(draw: st.DrawFn) -> Window:
    """Choose any time anywhere."""
    start = BEGIN + draw(st.integers(0, (END - BEGIN) // MINUTE)) * MINUTE
    return Window(draw(st.sampled_from(EVERY_ZONE)), start, start + 12 * HOUR)


# The oracle


def watched(cron: Cron, window: Window, gap: DstGap, overlap: DstOverlap) -> list[datetime]:
    """Say when a cron runs, by watching a clock."""
    zone = zone_named(window.timezone)
    runs = set()
    instant = window.start
    while instant < window.stop:
        wall = wall_of(instant, zone)
        if cron.matches(wall) and (not cron.is_fixed or is_meant(instant, wall, zone, overlap)):
            runs.add(instant)
        instant += cron.step
    if cron.is_fixed and gap is DstGap.RUN_AFTER:
        runs.update(n for n in after_gaps(cron, window, zone) if window.start <= n < window.stop)
    return sorted(runs)


def is_meant(instant: datetime, wall: datetime, zone: ZoneInfo, overlap: DstOverlap) -> bool:
    first, last = instant_of(wall, zone, fold=0), instant_of(wall, zone, fold=1)
    return {
        DstOverlap.FIRST: instant == first,
        DstOverlap.LAST: instant == last,
        DstOverlap.BOTH: instant in {first, last},
    }[overlap]


def after_gaps(cron: Cron, window: Window, zone: ZoneInfo) -> Iterator[datetime]:
    wall = wall_of(window.start - cron.step, zone)
    while wall < wall_of(window.stop, zone):
        if cron.matches(wall) and not exists(wall, zone):
            later = wall
            while not exists(later, zone):
                later += cron.step
            yield instant_of(later, zone, fold=0)
        wall += cron.step


def wall_of(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def instant_of(wall: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def exists(wall: datetime, zone: ZoneInfo) -> bool:
    return wall_of(instant_of(wall, zone, fold=0), zone) == wall


def successive(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Walk over the runs later than `after`."""
    while run := run_after(schedule, after, job_id=JOB):
        assert run > after
        yield run
        after = run


def walked(schedule: Schedule, start: datetime, stop: datetime) -> list[datetime]:
    """List the runs in [start, stop) by asking for one after the other."""
    return list(takewhile(lambda run: run < stop, successive(schedule, start - TICK)))


# The properties

MANY_STEPS_SECONDS = 300
"""The oracle steps through days and more; half a minute on a quiet machine."""

gaps, overlaps = st.sampled_from(DstGap), st.sampled_from(DstOverlap)


@pytest.mark.timeout(MANY_STEPS_SECONDS)
@given(crons(), turns(AWKWARD_ZONES, around=30 * HOUR), gaps, overlaps)
@settings(SEARCH, max_examples=200)
def test_runs_around_a_change_of_clocks_are_the_oracles(
    cron: Cron, window: Window, gap: DstGap, overlap: DstOverlap
):
    schedule = Schedule(cron=cron.text, timezone=window.timezone, dst_gap=gap, dst_overlap=overlap)

    assert walked(schedule, window.start, window.stop) == watched(cron, window, gap, overlap)


@pytest.mark.timeout(MANY_STEPS_SECONDS)
@given(crons(seconds=True), turns(AWKWARD_ZONES, around=HOUR), gaps, overlaps)
@SEARCH
def test_runs_to_the_second_around_a_change_are_the_oracles(
    cron: Cron, window: Window, gap: DstGap, overlap: DstOverlap
):
    schedule = Schedule(cron=cron.text, timezone=window.timezone, dst_gap=gap, dst_overlap=overlap)

    assert walked(schedule, window.start, window.stop) == watched(cron, window, gap, overlap)


@given(crons(), calm(), gaps, overlaps)
@SEARCH
def test_runs_anywhere_at_any_time_are_the_oracles(
    cron: Cron, window: Window, gap: DstGap, overlap: DstOverlap
):
    schedule = Schedule(cron=cron.text, timezone=window.timezone, dst_gap=gap, dst_overlap=overlap)

    assert walked(schedule, window.start, window.stop) == watched(cron, window, gap, overlap)


@given(crons(), turns(AWKWARD_ZONES, around=30 * HOUR), gaps, overlaps, st.data())
@SEARCH
def test_the_latest_run_and_the_count_agree_with_walking(
    cron: Cron, window: Window, gap: DstGap, overlap: DstOverlap, data: st.DataObject
):
    schedule = Schedule(cron=cron.text, timezone=window.timezone, dst_gap=gap, dst_overlap=overlap)
    runs = walked(schedule, window.start, window.stop)
    after = data.draw(st.sampled_from(runs or [window.start]))
    until = min(after + data.draw(st.integers(0, 61 * 60)) * MINUTE, window.stop - TICK)
    limit = data.draw(st.integers(1, len(runs) + 1))

    expected = [after, *(run for run in runs if after < run <= until)]
    assert latest_run(schedule, job_id=JOB, after=after, until=until) == expected[-1]
    count = count_runs(schedule, job_id=JOB, first=after, until=until, limit=limit)
    assert count == min(len(expected), limit)


@given(st.sampled_from(["0 12 1 7 *", "30 1 * * 0", "0 3 L 1,6 *", "*/20 2 1 */3 *"]), calm())
@settings(SEARCH, max_examples=60)
def test_the_latest_run_and_the_count_agree_with_walking_over_years(text: str, window: Window):
    schedule = Schedule(cron=text, timezone=window.timezone)
    until = window.start + 1000 * DAY
    runs = walked(schedule, window.start, until + TICK)

    assert latest_run(schedule, job_id=JOB, after=runs[0], until=until) == runs[-1]
    count = count_runs(schedule, job_id=JOB, first=runs[0], until=until, limit=10**6)
    assert count == len(runs)


@given(crons(), calm(), st.integers(1, 10**12), gaps, overlaps)
@SEARCH
def test_no_run_lies_between_an_instant_and_the_run_after_it(
    cron: Cron, window: Window, microseconds: int, gap: DstGap, overlap: DstOverlap
):
    schedule = Schedule(cron=cron.text, timezone=window.timezone, dst_gap=gap, dst_overlap=overlap)
    run = run_after(schedule, window.start, job_id=JOB)
    between = max(window.start, (run or END) - microseconds * TICK)

    assert run is None or run > window.start
    assert run_after(schedule, between, job_id=JOB) == run


@given(crons(seconds=True), calm(), st.integers(1, 4000), gaps, overlaps)
@SEARCH
def test_bounds_cut_the_runs_and_change_nothing_else(
    cron: Cron, window: Window, minutes: int, gap: DstGap, overlap: DstOverlap
):
    starts_at = window.start + HOUR
    ends_at = starts_at + minutes * SECOND
    free = Schedule(cron=cron.text, timezone=window.timezone, dst_gap=gap, dst_overlap=overlap)
    bound = replace(free, starts_at=starts_at, ends_at=ends_at)

    runs = walked(bound, window.start, window.stop)

    assert runs == walked(free, starts_at, ends_at + TICK)


@given(crons(), st.integers(0, (END - BEGIN) // MINUTE))
@SEARCH
def test_croniter_agrees_where_clocks_are_never_changed(cron: Cron, minutes: int):
    """Not where we differ on purpose: it joins `#` by AND, and takes `*/1` for a restriction."""
    assume(all(sign not in cron.text for sign in ("#", "L", "*/1")))
    start = BEGIN + minutes * MINUTE
    oracle = croniter(cron.text, start.replace(tzinfo=None), ret_type=datetime)

    runs = islice(successive(Schedule(cron=cron.text), start), 10)

    assert [run.replace(tzinfo=None) for run in runs] == [oracle.get_next() for _ in range(10)]


@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(EVERY_ZONE))
@settings(SEARCH, max_examples=20)
def test_the_29th_of_february_comes_in_every_leap_year(minute: int, hour: int, timezone: str):
    schedule = Schedule(cron=f"{minute} {hour} 29 2 *", timezone=timezone)

    runs = walked(schedule, datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))

    zone = zone_named(timezone)
    assert [wall_of(run, zone) for run in runs] == [
        datetime.fromisoformat(f"{year}-02-29 {hour:02}:{minute:02}")
        for year in range(2000, 2200, 4)
        if year != 2100
    ]


instants = st.datetimes(
    BEGIN.replace(tzinfo=None), END.replace(tzinfo=None), timezones=st.just(UTC)
)


@given(
    st.floats(0.1, 10**8),
    instants,
    st.one_of(st.none(), st.timedeltas(-400 * DAY, 400 * DAY)),
    st.integers(1, 50),
)
@SEARCH
def test_an_interval_is_a_grid(seconds: float, after: datetime, lead: timedelta | None, limit: int):
    starts_at = None if lead is None else after + lead
    every = timedelta(seconds=seconds)
    schedule = Schedule(every_seconds=seconds, starts_at=starts_at)

    first = first_run(schedule, job_id=JOB, now=after)
    assert first is not None
    assert first > after
    assert first in {after + every, starts_at} or first - every <= after
    grid = [first + n * every for n in range(limit)]
    until = grid[-1] + every - TICK
    assert [run_after(schedule, run, job_id=JOB) for run in grid[:-1]] == grid[1:]
    assert latest_run(schedule, job_id=JOB, after=first, until=until) == grid[-1]
    assert count_runs(schedule, job_id=JOB, first=first, until=until, limit=10**6) == limit
    assert (first - (starts_at or first)) % every == timedelta(0)


TOKENS = ["*", "?", "L", "H", "R", "W", "0", "1", "7", "5", "59", "31", "MON", "fri", "JAN", "-"]
SEPARATORS = [",", "-", "/", "#", "(", ")", " ", " ", " ", "@", "\u00a0", "x", "\u0663"]
near_crons = st.lists(st.sampled_from(TOKENS + SEPARATORS), max_size=24).map("".join)
almost_fields = st.lists(st.sampled_from(TOKENS + SEPARATORS[:6]), max_size=4).map("".join)
almost_crons = st.lists(almost_fields, min_size=5, max_size=7).map(" ".join)


@given(st.one_of(near_crons, almost_crons, st.text(max_size=40)))
@settings(SEARCH, max_examples=600)
def test_any_text_is_either_refused_or_can_be_planned_and_described(text: str):
    schedule = Schedule(cron=text)

    describe(schedule, job_id=JOB)
    refused = fields_refused(schedule)
    assert refused == {"cron"} or (
        refused == set() and first_run(schedule, job_id=JOB, now=END) is not None
    )


def fields_refused(schedule: Schedule) -> set[str]:
    try:
        check(schedule, job_id=JOB, now=END)
    except InvalidInput as refusal:
        return {error.field for error in refusal.errors}
    return set()


prefixes = st.sampled_from(
    ["", " ", "CRON_TZ=Asia/Tokyo ", "TZ=UTC  ", "TZ= ", "@every ", "@every 1h"]
)


@given(prefixes, prefixes, near_crons, st.sampled_from(["UTC", " Asia/Tokyo "]))
@settings(SEARCH, max_examples=150)
def test_normalizing_twice_changes_nothing_more(first: str, second: str, text: str, timezone: str):
    schedule = Schedule(cron=first + second + text, timezone=timezone)

    try:
        once = normalized(schedule)
    except InvalidInput:
        return
    assert normalized(once) == once
