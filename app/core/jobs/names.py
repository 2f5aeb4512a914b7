"""How jobs are named, and what joins them: names, ids, tags, keys of flows."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from app.errors import FieldError

MAX_NAME_LENGTH = 200
CALENDAR_USE = re.compile(r"!?[^!,/\x00-\x1f\x7f-\x9f][^,/\x00-\x1f\x7f-\x9f]{0,99}")
FLOW_KEY = re.compile(r"[^*/\x00-\x1f\x7f-\x9f]{1,200}")
NAME = re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,200}")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
RESERVED_NAMES = ("batch", "plan", "apply")
"""What follows /v1/jobs in addresses of their own."""
PATHS = (".", "..")
"""What programs leave out of an address, with what stands before."""

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="Unique; what PUT and people address the job by. Not batch, plan, apply, no /.",
        extra_json_schema={"pattern": r"^[^/\x00-\x1f\x7f-\x9f]+$"},
        examples=["nightly-report"],
    ),
]
FlowKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="Jobs with the same key share the limits of that flow: see /v1/flows.",
        extra_json_schema={"pattern": r"^[^*/\x00-\x1f\x7f-\x9f]+$"},
        examples=["api.example.com:443"],
    ),
]
CalendarUse = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=101,
        extra_json_schema={"pattern": r"^!?[^!,/\x00-\x1f\x7f-\x9f][^,/\x00-\x1f\x7f-\x9f]*$"},
        examples=["business-hours", "!holidays"],
    ),
]
Calendars = Annotated[
    tuple[CalendarUse, ...],
    Meta(max_length=20, description='Runs keep to their time; with "!" before a name avoid it.'),
]
Tag = Annotated[
    str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": r"^[^,\x00]+$"})
]


def job_id(reference: str) -> UUID | None:
    """Read a reference as an id; return None for a name."""
    return UUID(reference) if ID.fullmatch(reference) else None


def name_error(name: str) -> str | None:
    """Say why a job cannot have this name; return None for one that is allowed."""
    if not NAME.fullmatch(name):
        return f"must have 1 to {MAX_NAME_LENGTH} characters, no slash and no control character"
    if ID.fullmatch(name):
        return "looks like the id of a job: choose another name"
    if name in PATHS:
        return f"cannot be {name!r}, which no address can have: choose another name"
    if name in RESERVED_NAMES:
        return f"cannot be {name!r}, which is an address of its own: choose another name"
    return None


def calendar_errors(calendars: Sequence[str]) -> Iterator[FieldError]:
    """Check the names of the calendars that a job uses."""
    for index, one in enumerate(calendars):
        if not CALENDAR_USE.fullmatch(one):
            message = "is no name of a calendar: write 1 to 100 characters, no slash and no comma"
            yield FieldError(field=f"calendars[{index}]", message=message)
