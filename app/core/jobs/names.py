"""How jobs, and what is around them, may be named: names, ids, tags, keys of flows."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from app.errors import FieldError

MAX_NAME_LENGTH = 200
CALENDAR_NAME = re.compile(r"[^!,/\x00-\x1f\x7f-\x9f][^,/\x00-\x1f\x7f-\x9f]{0,99}")
CALENDAR_USE = re.compile("!?" + CALENDAR_NAME.pattern)
FLOW_KEY = re.compile(r"[^*/\x00-\x1f\x7f-\x9f]{1,200}")
NAME = re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,200}")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
RESERVED_NAMES = ("apply", "batch", "plan")
"""What follows /v1/jobs in addresses of their own; `tocsin.is_reserved` has the same."""
DOTS = (".", "..")
"""What programs leave out of an address, with what stands before."""

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="Unique; what PUT and people address the job by. No /, and not "
        f"{', '.join(RESERVED_NAMES)}, . or ..",
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


def characters_error(name: str) -> str | None:
    """Say why nothing has a name of these characters; return None for any other."""
    if not NAME.fullmatch(name):
        return f"must have 1 to {MAX_NAME_LENGTH} characters, no slash and no control character"
    return None


def form_error(name: str) -> str | None:
    """Say why no job has this name, nor has had it; return None for any other."""
    if ID.fullmatch(name):
        return "looks like the id of a job: choose another name"
    return characters_error(name)


def job_name_error(name: str) -> str | None:
    """Say why no job can be given this name; return None for one that is allowed.

    A job that has it from a release in which it was allowed keeps it.
    """
    if name in RESERVED_NAMES:
        return f"cannot be {name!r}, which is an address of its own: choose another name"
    return form_error(name) or dots_error(name)


def name_error(name: str) -> str | None:
    """Say why no set, rule, channel or key can have this name; return None for one that can be."""
    return characters_error(name) or dots_error(name)


def calendar_name_error(name: str) -> str | None:
    """Say why no calendar can have this name; return None for one that is allowed."""
    if not CALENDAR_NAME.fullmatch(name):
        return 'must have 1 to 100 characters, no slash, comma or control character, no "!" first'
    return dots_error(name)


def flow_key_error(key: str, *, may_be_pattern: bool) -> str | None:
    """Say why no flow can have this key; return None for one that is allowed.

    `may_be_pattern`: whether it may have asterisks.
    """
    if not FLOW_KEY.fullmatch(key.replace("*", "-") if may_be_pattern else key):
        no = (
            "slash or control character"
            if may_be_pattern
            else "slash, asterisk or control character"
        )
        return f"must have 1 to {MAX_NAME_LENGTH} characters, no {no}"
    return dots_error(key)


def dots_error(name: str) -> str | None:
    """Say why nothing can have a name that programs leave out of an address."""
    if name in DOTS:
        return f"cannot be {name!r}, which no address can have: choose another name"
    return None


def calendar_errors(calendars: Sequence[str]) -> Iterator[FieldError]:
    """Check the names of the calendars that a job uses."""
    for index, one in enumerate(calendars):
        if not CALENDAR_USE.fullmatch(one):
            message = "is no name of a calendar: write 1 to 100 characters, no slash and no comma"
            yield FieldError(field=f"calendars[{index}]", message=message)
