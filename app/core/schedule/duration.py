"""Durations as Go writes them: 1h30m, 90s, 1.5h."""

import re

from app.errors import FieldError, InvalidInput

PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,  # the micro sign, and below the Greek letter
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def duration_seconds(text: str, *, field: str) -> float:
    """Read a duration, to the microsecond.

    Raises:
        InvalidInput: the text is no duration; names `field`.
    """
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = f"{text!r} is no duration; write hours, minutes and seconds, such as 1h30m or 90s"
        raise InvalidInput(FieldError(field=field, message=message))
    return round(sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts), 6)
