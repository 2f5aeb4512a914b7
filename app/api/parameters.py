"""Parameters that several handlers have, and dependencies that the application provides."""

from datetime import datetime
from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import instant_error
from app.db import Database
from app.db.clock import PolledClock
from app.errors import FieldError, InvalidInput
from app.vault import SecretKeys

Db = NamedDependency[Database]
Clock = NamedDependency[PolledClock]
Keys = NamedDependency[SecretKeys]

Reference = Annotated[str, PathParameter(description="The id or the name of a job.")]
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="Only if the job still has this ETag; else 412."),
]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Items of a page, at most.")]
Cursor = Annotated[
    str | None, QueryParameter(description="next_cursor of the page before; the filters again.")
]


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
