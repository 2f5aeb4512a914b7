"""Says what keeps a text from being an instant of RFC 3339."""

import re
from calendar import monthrange

TOTAL = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?P<fraction>\.[0-9]+)?"
    r"(?P<offset>Z|[+-](?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))?)?",
    re.IGNORECASE | re.ASCII,
)
"""A date, or a date and time, with or without an offset; its numbers may be out of range."""
WITHOUT_SECONDS = re.compile(r"[^T ]+[T ][0-9]{2}:[0-9]{2}(Z|[+-].*)?", re.IGNORECASE | re.ASCII)
RANGES = {
    "month": (1, 12),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
    "hours": (0, 23),
    "minutes": (0, 59),
}
"""The parts that have the same range in every instant."""
NAMES = {"hours": "the hours of the offset", "minutes": "the minutes of the offset"}
NO_OFFSET = (
    "must be an RFC 3339 date and time with a timezone component: end it with Z for UTC or with an "
    "offset such as +01:00"
)
MAX_QUOTED_LENGTH = 40


def misread_instant(text: str) -> str:
    """Say which part of a text keeps it from being an instant."""
    match = TOTAL.fullmatch(text)
    if match is None:
        return not_an_instant(reason_of_form(text))
    parts = {name: int(part) for name, part in match.groupdict().items() if (part or "").isdigit()}
    if reason := reason_of_numbers(parts):
        return not_an_instant(reason)
    if "hour" not in parts:
        return not_an_instant("it has a date and no time of day")
    if match["offset"] is None:
        return NO_OFFSET
    return not_an_instant("it is out of range")


def not_an_instant(reason: str) -> str:
    """Word a refusal."""
    return f"is no RFC3339 date and time: {reason}"


def reason_of_form(text: str) -> str:
    """Say what differs from the form of an instant."""
    if not text.strip():
        return "it is empty"
    if text != text.strip():
        return "it has a space at its beginning or end"
    if WITHOUT_SECONDS.fullmatch(text):
        return "it has no seconds"
    if re.fullmatch("[0-9]+", text, re.ASCII):
        return "it is a number"
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", text, re.IGNORECASE | re.ASCII):
        return f"{quoted(text[11:])} is no time of day with an offset, as 08:30:00Z is"
    quoted_date = quoted(re.split(r"[T ]", text)[0] if re.match("[0-9]", text) else text)
    return f"{quoted_date} is no date in the form YYYY-MM-DD"


def reason_of_numbers(parts: dict[str, int]) -> str | None:
    """Say which number is out of its range; None if each is within."""
    if parts["year"] == 0:
        return "the year is 0000"
    if parts.get("hour") == 24:  # noqa: PLR2004 - the midnight that ends a day, in ISO 8601
        return "the hour is 24: midnight is 00:00:00 of the next day"
    if parts.get("second") == 60:  # noqa: PLR2004 - a leap second
        return "the second is 60, and leap seconds cannot be planned for"
    for name, (least, most) in RANGES.items():
        if name in parts and not least <= parts[name] <= most:
            named = f"{NAMES[name]} are" if name in NAMES else f"the {name} is"
            return f"{named} {parts[name]:02}, which has to be from {least:02} to {most:02}"
    days = monthrange(parts["year"], parts["month"])[1]
    if not 1 <= parts["day"] <= days:
        month = f"{parts['year']:04}-{parts['month']:02}"
        return f"the day is {parts['day']:02}, and {month} has days from 01 to {days}"
    return None


def quoted(text: str) -> str:
    """Quote a text, the beginning of a long one."""
    return repr(text if len(text) <= MAX_QUOTED_LENGTH else f"{text[:MAX_QUOTED_LENGTH]}…")
