"""Reads what lists are filtered by: of the query of a list, and of a bulk action alike."""

import re
from datetime import datetime

from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import instant_error
from app.errors import FieldError, InvalidInput

STATUS = re.compile(r"[1-5][0-9]{2}|[1-5]xx", re.ASCII)


def listed(values: list[str] | None) -> list[str] | None:
    """Join values that were repeated and values that have commas between them; None without any."""
    found = [one.strip() for value in values or () for one in value.split(",")]
    return [one for one in found if one] or None


def known_outcomes(values: list[str] | None, field: str) -> list[Outcome] | None:
    """Read the outcomes that are asked for.

    Raises:
        InvalidInput: one of them is not known.
    """
    given = listed(values)
    if given and (unknown := [one for one in given if one not in set(Outcome)]):
        message = f"{unknown[0]!r} is not known: write one of {', '.join(Outcome)}"
        raise InvalidInput(FieldError(field=field, message=message))
    return [Outcome(one) for one in given] if given else None


def sound(instant: datetime | None, field: str) -> datetime | None:
    """Return the instant if it can be compared with others.

    Raises:
        InvalidInput: the instant has no offset, or is out of range.
    """
    if error := instant_error(instant):
        raise InvalidInput(FieldError(field=field, message=error))
    return instant


def known_statuses(values: list[str] | None, field: str = "status") -> list[range] | None:
    """Read the status codes that are asked for, and classes of them.

    Raises:
        InvalidInput: one of them is no status code.
    """
    given = listed(values)
    if given and (unknown := [one for one in given if not STATUS.fullmatch(one)]):
        message = f"{unknown[0]!r} is no status code such as 503 or 5xx: did you mean outcome?"
        raise InvalidInput(FieldError(field=field, message=message))
    if not given:
        return None
    return [
        range(int(one[0]) * 100, int(one[0]) * 100 + 100)
        if one.endswith("xx")
        else range(int(one), int(one) + 1)
        for one in given
    ]
