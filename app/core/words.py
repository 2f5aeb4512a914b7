"""A schedule in words, for people who look at a job or try out a cron."""

from datetime import UTC, datetime
from functools import lru_cache

# It has types inside, but not the marker that lets mypy see them.
from cron_descriptor import ExpressionDescriptor, Options  # type: ignore[import-untyped]

from app.core.crontext import DAY, FIELDS, PLAIN, USES_HASH, WEEKDAY, Field, faults_of, split
from app.core.schedule import Schedule
from app.errors import InvalidInput

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def describe(schedule: Schedule) -> str:
    """Say in one English sentence when a job runs; never fails.

    A cron that cannot be put into words, such as one with `H`, is shown as it is written.
    """
    if schedule.run_at is not None:
        return f"Once, at {moment(schedule.run_at)}"
    if schedule.cron is not None:
        words = f"{cron_words(schedule.cron)}, in {schedule.timezone}"
    elif schedule.every_seconds is not None:
        words = interval_words(schedule.every_seconds)
    else:
        return "Never"
    if schedule.starts_at is not None:
        words += f", from {moment(schedule.starts_at)}"
    if schedule.ends_at is not None:
        words += f", until {moment(schedule.ends_at)}"
    return words


def interval_words(seconds: float) -> str:
    """Word an interval in the largest unit that it is a multiple of."""
    for size, unit in UNITS:
        if seconds == size:
            return f"Every {unit}"
        if seconds % size == 0:
            return f"Every {int(seconds // size)} {unit}s"
    return f"Every {seconds} seconds"


def moment(instant: datetime) -> str:
    """Word an instant, without seconds where they are zero."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}".removesuffix(":00") + " UTC"


@lru_cache(maxsize=1024)
def cron_words(text: str) -> str:
    """Word a cron, or return it as written; the package opens a file every time."""
    as_written = f"Cron {text}"
    try:
        texts = split(text)
    except InvalidInput:
        return as_written
    fields = list(zip(FIELDS, texts, strict=True))
    if not all(has_words(field, part) for field, part in fields):
        return as_written
    options = Options(use_24hour_time_format=True, locale_code="en_US")
    try:
        # All seven fields: of six it would guess whether the first or the last is missing.
        expression = " ".join(described(field, part) for field, part in fields)
        return str(ExpressionDescriptor(expression, options).get_description())
    except Exception:  # noqa: BLE001 - a job must be shown even if nobody can describe it
        return as_written


def has_words(field: Field, text: str) -> bool:
    """Tell whether the package describes a field as we understand it."""
    if faults_of(field, text) or USES_HASH.search(text):
        return False
    if "," in text and not all(is_plain(item) for item in text.split(",")):
        return False  # it leaves some of the items out, or shows their letters
    return not (field is WEEKDAY and "/" in text)  # it says weeks, where we mean days of the week


def is_plain(item: str) -> bool:
    """Tell whether an item is a value or a range, perhaps with a step."""
    shape = PLAIN.fullmatch(item)
    return shape is not None and shape["low"] not in {None, "l"}


def described(field: Field, text: str) -> str:
    """Write a field as the package reads it."""
    if field is WEEKDAY and text.startswith("l"):
        return text.removeprefix("l") + "L"
    return "*" if field in (DAY, WEEKDAY) and text == "?" else text.upper()
