"""Parses a cron text into a `Cron`. docs/schedules.md describes the dialect.

This module checks each field, to name the wrong value and what to write instead; croniter then
expands the text.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from croniter import CroniterError, croniter
from msgspec import Struct

from app.core.schedule.cron import LAST, Cron
from app.errors import FieldError, InvalidInput

LONGEST = 128
"""The most characters of a cron text; the bound keeps parsing below about a millisecond."""
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class Field(Struct, frozen=True, kw_only=True):
    """One of the seven fields of a cron; bounds are inclusive."""

    title: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Words for the values from `low` on."""
    hash_high: int
    """The largest value that a bare `H` takes."""
    example: str

    @property
    def count(self) -> int:
        """The number of different values; of the days of the week, 0 and 7 are one."""
        return len(self.names) or self.high - self.low + 1

    @property
    def remedy(self) -> str:
        """The end of an error message, with the values that the field allows."""
        names = f" or {self.names[0].upper()}-{self.names[-1].upper()}" if self.names else ""
        return f"write {self.low}-{self.high}{names}, such as {self.example}"


SECOND = Field(title="second", low=0, high=59, hash_high=59, example="0, 0,30 or */10")
MINUTE = Field(title="minute", low=0, high=59, hash_high=59, example="0, 0,30, 0-29 or */15")
HOUR = Field(title="hour", low=0, high=23, hash_high=23, example="3, 9,17, 9-17 or */2")
# H is at most 28, since every month has that day.
DAY = Field(title="day of month", low=1, high=31, hash_high=28, example="1, 1,15, 1-7 or L")
MONTH = Field(
    title="month", low=1, high=12, names=MONTHS, hash_high=12, example="1, JAN,JUL, 6-8 or */3"
)
WEEKDAY = Field(
    title="day of week", low=0, high=7, names=WEEKDAYS, hash_high=6, example="1-5, MON, 5#3 or L5"
)
YEAR = Field(title="year", low=1970, high=2099, hash_high=2099, example="2030 or 2030-2035")
EVERY_YEAR = range(YEAR.low, 2201)
"""The years of a star, up to the last year that a job may have; croniter's own end in 2099."""
FIELDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR)

Values = Sequence[int | str]
Nth = Mapping[str, Collection[int]]
"""The type of croniter's stubs; in fact the keys are integers, and a value may be `l`."""

PLAIN = re.compile(
    r"(?:\*|(?P<low>\d+|[a-z]+)(?:-(?P<high>\d+|[a-z]+))?)(?:/(?P<step>\d+))?", re.ASCII
)
HASHED = re.compile(r"h(?:\((?P<low>\d+)-(?P<high>\d+)\))?(?:/(?P<step>\d+))?", re.ASCII)
NTH_WEEKDAY = re.compile(
    r"(?P<day>\d|[a-z]{3})(?:#(?P<nth>[1-5])|l)|l(?P<last>\d|[a-z]{3})", re.ASCII
)
USES_HASH = re.compile(r"(?<![a-z])h(?![a-z])", re.ASCII | re.IGNORECASE)
ELSEWHERE = (
    (re.compile(r"r\b.*"), "random values would change with every look; write H, fixed for a job"),
    (re.compile(r"\d+w|w\d+|lw|wl"), "W, the nearest weekday, is not known; write a weekday"),
    (re.compile(r"l-\d+"), "days before the last are not known; write L, or days by number"),
    (re.compile(r"l"), "L alone is for the day of month; write L5 for the last Friday"),
    (re.compile(r".+#.*"), "# is for one day of the week and 1-5; write 5#3 for the third Friday"),
)
"""Items that only other dialects have, and what to write instead."""


def parse(text: str, *, job_id: UUID) -> Cron:
    """Read a cron text; `job_id` chooses the values of `H`.

    Raises:
        InvalidInput: the text is not of the dialect; its message names each field that is wrong.
    """
    return parse_cached(text, job_id if uses_hash(text) else None)


def uses_hash(text: str) -> bool:
    """Return whether a cron text may have an `H`, whose values differ from job to job."""
    return USES_HASH.search(text) is not None


@lru_cache(maxsize=4096)
def parse_cached(text: str, job_id: UUID | None) -> Cron:
    """Read a cron text; `job_id` is None for a text without `H`, so that jobs share the result."""
    texts = split(text)
    errors = [found for pair in enumerate(texts) for found in errors_of(*pair)]
    if errors:
        raise refusal("; ".join(errors))
    digest = sha256(job_id.bytes).digest() if job_id else bytes(32)
    plain = [
        rewritten(index, text, int.from_bytes(digest[4 * index : 4 * index + 4]))
        if "h" in text
        else rewritten(index, text, 0)
        for index, text in enumerate(texts)
    ]
    try:
        fields = [expanded(index, text) for index, text in enumerate(plain)]
    except CroniterError as error:
        raise refusal(f"{text!r} cannot be read: {error}") from error
    return assembled(plain, fields)


class FieldValues(Struct, frozen=True, kw_only=True):
    """What one field of a cron comes to."""

    numbers: frozenset[int]
    ordered: tuple[int, ...]
    has_star: bool
    has_last: bool
    nth: Nth


@lru_cache(maxsize=4096)
def expanded(index: int, text: str) -> FieldValues:
    """Have croniter expand one of the `FIELDS`: thousands of crons have few different ones.

    Raises:
        CroniterError: croniter cannot read the text.
    """
    texts = ["*"] * len(FIELDS)
    texts[index] = text
    minutes_to_weekdays_seconds_years, nth = croniter.expand(
        " ".join(texts), second_at_beginning=True
    )
    *others, seconds, years = minutes_to_weekdays_seconds_years
    values = (seconds, *others, years)[index]
    found = numbers(FIELDS[index], values)
    return FieldValues(
        numbers=found,
        ordered=tuple(sorted(found)),
        has_star="*" in values,
        has_last="l" in values,
        nth=nth,
    )


def split(text: str) -> list[str]:
    """Split a text into seven fields in lower case, the second first and the year last."""
    if len(text) > LONGEST:
        raise refusal(f"{text[:20]!r}... is longer than {LONGEST} characters")
    fields = ALIASES.get(text.strip().lower(), text).lower().split()
    if fields and fields[0].startswith("@"):
        raise refusal(f"{text!r} is no alias; write a time, or one of {', '.join(ALIASES)}")
    match len(fields):
        case 5:
            return ["0", *fields, "*"]
        case 6:
            return [*fields, "*"]
        case 7:
            return fields
        case count:
            raise refusal(
                f"{text!r} has {count} field{'' if count == 1 else 's'}; write 5 (minute, hour,"
                " day of month, month, day of week), 6 (with the second first) or 7 (with the"
                " year last)"
            )


@lru_cache(maxsize=4096)
def errors_of(index: int, text: str) -> Sequence[str]:
    """Return an error for each invalid item of one of the `FIELDS`."""
    field = FIELDS[index]
    if text == "?" and field in (DAY, WEEKDAY):
        return []
    items = text.split(",")
    reasons = {item: reason for item in items if (reason := field_error(field, item))}
    if field is WEEKDAY and len({NTH_WEEKDAY.fullmatch(item) is None for item in items}) > 1:
        reasons[text] = "# and L do not mix with plain days; make two jobs of it"
    return [f"{field.title} {item!r}: {reason}" for item, reason in reasons.items()]


def field_error(field: Field, item: str) -> str | None:
    """Say what is wrong with one item of a list, and what to write instead."""
    if field is DAY and item == "l":
        return None
    if field is WEEKDAY and (nth := NTH_WEEKDAY.fullmatch(item)):
        return field.remedy if value(field, nth["day"] or nth["last"]) is None else None
    hashed = None if field is YEAR else HASHED.fullmatch(item)
    shape = hashed or PLAIN.fullmatch(item)
    ends = [value(field, end) for end in shape.group("low", "high") if end] if shape else [None]
    if shape is None or None in ends:
        return next((hint for form, hint in ELSEWHERE if form.fullmatch(item)), field.remedy)
    return shape_error(field, shape, hashed=hashed is not None)


def shape_error(field: Field, shape: re.Match[str], *, hashed: bool) -> str | None:
    """Say what is wrong with the range or the step of an item whose values exist."""
    if shape["step"] and not 1 <= int(shape["step"]) <= field.count:
        return f"a step is 1-{field.count}; for longer intervals there is every_seconds"
    low, high = value(field, shape["low"] or ""), value(field, shape["high"] or "")
    if low is None or high is None:
        return None
    if shape["low"] == shape["high"]:
        return f"a range needs two values; write {shape['low']}"
    if field is WEEKDAY:
        low, high = low % 7, high or 7  # Sunday opens a week as 0 and closes it as 7
    if low > high and (hashed or shape["step"] or field is YEAR):
        return "a range that wraps around takes no step, H or year; write two ranges"
    return None


def value(field: Field, text: str) -> int | None:
    """Read a number or name; None where the field has no such value."""
    if text in field.names:
        return field.low + field.names.index(text)
    return int(text) if text.isdigit() and field.low <= int(text) <= field.high else None


@lru_cache(maxsize=4096)
def rewritten(index: int, text: str, seed: int) -> str:
    """Rewrite what croniter lacks or reads differently (`?`, `5L` and `H`) in its own dialect."""
    field = FIELDS[index]
    return ",".join(rewritten_item(field, item, seed) for item in text.split(","))


def rewritten_item(field: Field, item: str, seed: int) -> str:
    """Rewrite one item of a list."""
    if item == "?":
        return "*"
    if field is WEEKDAY and (nth := NTH_WEEKDAY.fullmatch(item)):
        weekday = value(field, nth["day"] or nth["last"])
        return f"{weekday}#{nth['nth']}" if nth["nth"] else f"l{weekday}"
    hashed = HASHED.fullmatch(item)
    return drawn(field, hashed, seed) if hashed else item


def drawn(field: Field, hashed: re.Match[str], seed: int) -> str:
    """Choose the value of an `H`; with a step, the start lies within the first step."""
    low, high = int(hashed["low"] or field.low), int(hashed["high"] or field.hash_high)
    count = high - low + 1
    start = low + seed % min(int(hashed["step"] or count), count)
    return f"{start}-{high}/{hashed['step']}" if hashed["step"] and start < high else str(start)


def assembled(texts: list[str], fields: Sequence[FieldValues]) -> Cron:
    """Make a `Cron` of the values that croniter expanded, in the order of `FIELDS`."""
    seconds, minutes, hours, days, months, weekdays, years = fields
    return Cron(
        seconds=seconds.ordered,
        minutes=minutes.ordered,
        hours=hours.ordered,
        days=days.numbers,
        last_day=days.has_last,
        months=months.numbers,
        weekdays=frozenset() if weekdays.nth else frozenset(day % 7 for day in weekdays.numbers),
        nth_weekdays=frozenset(
            (int(weekday), LAST if str(n) == "l" else n)
            for weekday, counts in weekdays.nth.items()
            for n in counts
        ),
        years=EVERY_YEAR if years.has_star else years.ordered,
        either_day=not (is_open(texts[3]) or is_open(texts[5])),
        fixed_times=set("*/-").isdisjoint(texts[1] + texts[2]),
    )


def numbers(field: Field, values: Sequence[int | str]) -> frozenset[int]:
    """Collect the values of a field; a star, even within a list, stands for all values."""
    if "*" in values:
        return frozenset(range(field.low, field.high + 1))
    return frozenset(value for value in values if isinstance(value, int))


def is_open(text: str) -> bool:
    """Return whether a day field has a star, so that the other day field decides alone."""
    return not {"*", "*/1"}.isdisjoint(text.split(","))


def refusal(message: str) -> InvalidInput:
    """Return the refusal of a cron text."""
    return InvalidInput(FieldError(field="cron", message=message))
