"""Describes a cron in English by the values of its fields, so that equal crons read the same."""

from collections.abc import Collection, Iterable, Sequence
from itertools import product

from app.core.schedule.cron import LAST, Cron
from app.core.schedule.cron_parser import EVERY_YEAR, HOUR, MINUTE, SECOND, Field

DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST: "last"}
LISTED_TIMES = 8
"""Up to this many times of a day are listed; more are described field by field."""
LISTED_HOURS = 3
"""Up to this many times, or ranges of hours, are listed even if evenly spaced."""

MIN_RUN_LENGTH = 3
"""From this many on, consecutive values are written as a range."""


def cron_in_words(cron: Cron) -> str:
    """Say when a cron runs, in times of the clocks of its zone.

    "Every N seconds", minutes or hours is said only of runs that are N apart throughout: all day
    long, or from one named time through another.
    """
    parts = (times_in_words(cron), *days_in_words(cron), *months_and_years(cron))
    return ", ".join(parts)


def times_in_words(cron: Cron) -> str:
    """Say at what times of a day."""
    seconds, minutes, hours = cron.seconds, cron.minutes, cron.hours
    if len(seconds) > 1:
        step = step_around(seconds, SECOND.count) if len(minutes) == MINUTE.count else None
        return pace(cron, step, "second") if step else times_by_field(cron)
    if len(minutes) > 1:
        step = step_around(minutes, MINUTE.count)
        return pace(cron, step, "minute") if step else times_by_field(cron)
    if len(hours) > LISTED_HOURS:
        step = step_around(hours, HOUR.count)
        if step and step > 1:
            return f"Every {step} hours, from {clock(hours[0], minutes[0], seconds[0])} on"
        if len(stretches(hours)) == 1:
            return pace(cron, 1, "hour")
    return f"At {listed(clock(hour, minutes[0], seconds[0]) for hour in hours)}"


def pace(cron: Cron, step: int, unit: str) -> str:
    """Word runs `step` units apart, all day or within each range of hours."""
    every = f"Every {unit}" if step == 1 else f"Every {step} {unit}s"
    hours = stretches(cron.hours)
    if len(cron.hours) == HOUR.count:
        return every + offset(cron, step, unit)
    if len(hours) > LISTED_HOURS:
        return times_by_field(cron)
    spans = (
        f"from {clock(low, cron.minutes[0], cron.seconds[0])}"
        f" through {clock(high, cron.minutes[-1], cron.seconds[-1])}"
        for low, high in hours
    )
    return f"{every} {listed(spans)}"


def offset(cron: Cron, step: int, unit: str) -> str:
    """Say at which minute and second runs of all day begin, unless at zero."""
    minute, second = cron.minutes[0], cron.seconds[0]
    where = [f"minute {minute}"] if minute and unit != "second" else []
    where += [f"second {second}"] if second else []
    begin = "at" if step == 1 else "beginning at"
    return f", {begin} {listed(where)}" if where else ""


def times_by_field(cron: Cron) -> str:
    """List the times of a day if they are few; else describe them field by field."""
    seconds, minutes, hours = cron.seconds, cron.minutes, cron.hours
    if cron.times_a_day <= LISTED_TIMES:
        return f"At {listed(clock(*time) for time in product(hours, minutes, seconds))}"
    parts = [
        field_in_words(field, values)
        for field, values in ((SECOND, seconds), (MINUTE, minutes), (HOUR, hours))
        if (field, values) != (SECOND, (0,))
    ]
    if len(hours) == HOUR.count and len(minutes) == MINUTE.count:
        parts.pop()  # every minute is one of every hour
    return f"At {' of '.join(parts)}"


def field_in_words(field: Field, values: Sequence[int]) -> str:
    """Word the values of one field of a time."""
    if len(values) == field.count:
        return f"every {field.title}"
    return f"{field.title}{'s' if len(values) > 1 else ''} {numbered(values)}"


def days_in_words(cron: Cron) -> list[str]:
    """Say on what days; nothing for every day."""
    any_day = cron.days.issuperset(range(1, 32))
    any_weekday = len(cron.weekdays) == len(DAY_NAMES)
    if (any_day and any_weekday) or (cron.either_day and (any_day or any_weekday)):
        return []
    if cron.either_day:
        by_number, by_weekday = numbered_days(cron, "or"), weekdays_in_words(cron, "or")
        return [by_number, f"or {by_weekday}"]
    if any_day:
        return [weekdays_in_words(cron, "and")]
    return [numbered_days(cron, "and")]


def numbered_days(cron: Cron, joint: str) -> str:
    """Word the days of a month."""
    days = sorted(cron.days)
    items = [f"day{'s' if len(days) > 1 else ''} {numbered(days, joint)}"] if days else []
    if cron.last_day:
        items.append("the last day")
    return f"on {listed(items, joint)} of the month"


def weekdays_in_words(cron: Cron, joint: str) -> str:
    """Word the days of a week, or days of a month such as its third Friday."""
    if cron.nth_weekdays:
        inside = sorted(cron.nth_weekdays, key=lambda pair: (pair[1] % 7, (pair[0] - 1) % 7))
        items = (f"the {ORDINALS[nth]} {DAY_NAMES[day]}" for day, nth in inside)
        return f"on {listed(items, joint)} of the month"
    around = run_around(cron.weekdays, 7)
    if around is not None:
        through = f"{DAY_NAMES[around[0]]} through {DAY_NAMES[around[1]]}"
        return f"on {through}" if cron.either_day else through
    days = sorted(cron.weekdays, key=lambda day: (day - 1) % 7)
    names = listed((DAY_NAMES[day] for day in days), joint)
    return f"on {names}" if cron.either_day else f"only on {names}"


def months_and_years(cron: Cron) -> list[str]:
    """Say in which months and years; nothing for all of them."""
    parts = []
    if len(cron.months) < len(MONTH_NAMES):
        around = run_around({month - 1 for month in cron.months}, 12)
        if around is not None:
            parts.append(f"only from {MONTH_NAMES[around[0]]} through {MONTH_NAMES[around[1]]}")
        else:
            parts.append(f"only in {listed(MONTH_NAMES[m - 1] for m in sorted(cron.months))}")
    if cron.years != EVERY_YEAR:
        parts.append(f"only {years_in_words(cron.years)}")
    return parts


def years_in_words(years: Sequence[int]) -> str:
    """Word the years; evenly spaced ones, if they are many, by their distance."""
    step = years[1] - years[0] if len(years) > LISTED_TIMES else 1
    if step > 1 and list(years) == list(range(years[0], years[-1] + 1, step)):
        return f"every {step} years from {years[0]} through {years[-1]}"
    return f"in {numbered(years)}"


def step_around(values: Sequence[int], size: int) -> int | None:
    """Return the distance of evenly spaced values on a circle of `size`; None if it varies."""
    step, rest = divmod(size, len(values))
    return None if rest or list(values) != list(range(values[0], size, step)) else step


def stretches(values: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last of each range of consecutive values; `values` ascend."""
    found: list[tuple[int, int]] = []
    for value in values:
        if found and found[-1][1] == value - 1:
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return found


def run_around(values: Collection[int], size: int) -> tuple[int, int] | None:
    """Return the ends of consecutive values on a circle of `size`; None if they have gaps."""
    starts = [value for value in values if (value - 1) % size not in values]
    if len(values) < MIN_RUN_LENGTH or len(starts) != 1:
        return None
    return starts[0], (starts[0] + len(values) - 1) % size


def numbered(values: Iterable[int], joint: str = "and") -> str:
    """List numbers, with three or more consecutive ones as a range."""
    items: list[str] = []
    for low, high in stretches(values):
        if high - low + 1 >= MIN_RUN_LENGTH:
            items.append(f"{low} through {high}")
        else:
            items.extend(str(value) for value in range(low, high + 1))
    return listed(items, joint)


def listed(items: Iterable[str], joint: str = "and") -> str:
    """Join items with commas, and the last one with `joint`."""
    *front, last = items
    return f"{', '.join(front)} {joint} {last}" if front else last


def clock(hour: int, minute: int, second: int) -> str:
    """Word a time of day, without a second of zero."""
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
