"""Reads the sentence about a cron back into the wall times that it promises, knowing no cron."""

import re
from collections.abc import Callable
from datetime import date, timedelta

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
ORDINALS = ("first", "second", "third", "fourth", "fifth")
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
SIZES = {"second": 60, "minute": 60, "hour": 24}
CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?")
PACE = re.compile(r"Every (?:(\d+) )?(second|minute|hour)s?(.*)", re.DOTALL)
FIELD = re.compile(r"(?:every (second|minute|hour)|(second|minute|hour)s? (.+))")

DayTest = Callable[[date], bool]


def matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    """Match all of a text, which has to have this form."""
    found = pattern.fullmatch(text)
    assert found is not None, f"{text!r} is not how a sentence says this"
    return found


def clock(text: str) -> int:
    """Return the second of the day that a time such as 09:00 or 09:00:30 names."""
    hour, minute, second = (int(part or 0) for part in matched(CLOCK, text).groups())
    return hour * 3600 + minute * 60 + second


def items(text: str) -> list[str]:
    """Take a list apart."""
    return re.split(r", (?:and |or )?| and | or ", text)


def numbers(text: str) -> set[int]:
    """Read numbers and runs of numbers."""
    found: set[int] = set()
    for item in items(text):
        low, _, high = item.partition(" through ")
        found |= set(range(int(low), int(high or low) + 1))
    return found


def circle(text: str, names: tuple[str, ...]) -> set[int]:
    """Read names and runs of names, as indexes."""
    found: set[int] = set()
    for item in items(text):
        low, _, high = item.partition(" through ")
        index, end = names.index(low), names.index(high or low)
        found |= {(index + n) % len(names) for n in range((end - index) % len(names) + 1)}
    return found


def clauses(sentence: str) -> tuple[str, list[str]]:
    """Split off the times from what bounds the days."""
    weekday = "|".join(DAYS)
    begin = rf"or on |on the |on days? |only |(?:{weekday}) through "
    times, *rest = re.split(rf", (?={begin})", sentence)
    # a list of weekdays or of days by ordinal has commas of its own
    joined: list[str] = []
    for part in rest:
        if joined and re.match(r"(?:the )", part):
            joined[-1] += f", {part}"
        else:
            joined.append(part)
    return times, joined


def times_of(text: str) -> set[int]:
    """Read the times of a day."""
    if pace := PACE.fullmatch(text):
        return paced(int(pace[1] or 1) * SECONDS[pace[2]], pace[2], pace[3])
    text = text.removeprefix("At ")
    if CLOCK.match(text):
        return {clock(item) for item in items(text)}
    fields = {"second": {0}, "minute": set(range(60)), "hour": set(range(24))}
    for part in text.split(" of "):
        every, name, values = matched(FIELD, part).groups()
        fields[every or name] = set(range(SIZES[every])) if every else numbers(values)
    return {
        hour * 3600 + minute * 60 + second
        for hour in fields["hour"]
        for minute in fields["minute"]
        for second in fields["second"]
    }


def paced(step: int, unit: str, where: str) -> set[int]:
    """Read what stands after "Every N units"."""
    if spans := re.findall(r"from ([\d:]+) through ([\d:]+)", where):
        found = set()
        for low, high in spans:
            assert (clock(high) - clock(low)) % step == 0, "a stretch ends with a run"
            found |= set(range(clock(low), clock(high) + 1, step))
        return found
    start = 0
    if begin := re.fullmatch(r", from ([\d:]+) on", where):
        start = clock(begin[1])
    elif begin := re.fullmatch(r", (?:beginning )?at (.+)", where):
        for item in items(begin[1]):
            name, value = item.split(" ")
            start += int(value) * SECONDS[name]
    else:
        assert where == ""
    assert 86_400 % step == 0, "every N means so over midnight too"
    assert start < step
    return set(range(start, 86_400, step))


def day_of(text: str) -> DayTest:
    """Read one clause about the days of a month or a week."""
    text = re.sub(r"^(?:or )?(?:only )?(?:on )?", "", text)
    if text.startswith(("day", "the")):
        return in_month(text.removesuffix(" of the month"))
    weekdays = circle(text, DAYS)
    return lambda day: day.weekday() in weekdays


def in_month(text: str) -> DayTest:
    """Read days by number, the last one, and days by ordinal."""
    tests: list[DayTest] = []
    last = " the last day"
    if text.endswith(last.strip()):
        tests.append(lambda day: (day + timedelta(1)).day == 1)
        text = re.sub(r"(?:(?: and| or) )?the last day$", "", text)
    if text.startswith("day"):
        days = numbers(re.sub(r"^days? ", "", text))
        tests.append(lambda day: day.day in days)
    elif text:
        for item in items(text):
            _, ordinal, name = item.split(" ")
            tests.append(nth(ordinal, DAYS.index(name)))
    return lambda day: any(test(day) for test in tests)


def nth(ordinal: str, weekday: int) -> DayTest:
    """Read, for example, the third Friday."""
    if ordinal == "last":
        return lambda day: day.weekday() == weekday and (day + timedelta(7)).month != day.month
    week = ORDINALS.index(ordinal)
    return lambda day: day.weekday() == weekday and (day.day - 1) // 7 == week


def bound(text: str) -> DayTest:
    """Read one clause that begins with "only" and is about months or years."""
    text = re.sub(r"^only (?:in |from )?", "", text)
    if every := re.fullmatch(r"every (\d+) years from (\d+) through (\d+)", text):
        step, low, high = (int(part) for part in every.groups())
        return lambda day: day.year in range(low, high + 1, step)
    if text[0].isdigit():
        years = numbers(text)
        return lambda day: day.year in years
    months = circle(text, MONTHS)
    return lambda day: day.month - 1 in months


def read(sentence: str) -> tuple[set[int], DayTest]:
    """Return the seconds of a day, and what tells whether a day counts."""
    times, rest = clauses(sentence)
    either = [part for part in rest if not re.match(r"only (?:in|from|every) ", part)]
    bounds = [bound(part) for part in rest if part not in either]
    assert all(part.startswith("or ") for part in either[1:]), "several day clauses are an or"
    days = [day_of(part) for part in either]
    return (
        times_of(times),
        lambda day: (
            (not days or any(test(day) for test in days)) and all(test(day) for test in bounds)
        ),
    )
