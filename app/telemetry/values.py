"""How values stand in a line of the log: in one form, and bounded, whoever wrote them."""

from datetime import UTC, datetime

MAX_CHARACTERS = 2000
"""The longest text in a line; what is longer ends in an ellipsis."""


def written(value: object) -> object:
    """Return a value as a line has it.

    Numbers and booleans stay what they are, floats to the microsecond; an instant is RFC 3339 in
    UTC, as the API writes it; anything else is text of at most `MAX_CHARACTERS`.
    """
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return instant(value)
    text = str(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


def instant(value: datetime) -> str:
    """Write an instant as the API does: `2026-11-24T12:00:00.5Z` is `…T12:00:00.500000Z`."""
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def escaped(text: str) -> str:
    """Escape what a terminal may act upon, or not show: control characters and their like."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
