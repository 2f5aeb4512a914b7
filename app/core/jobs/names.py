"""How jobs are named, and what joins them: names, ids, tags, keys of flows."""

import re
from typing import Annotated
from uuid import UUID

from msgspec import Meta

MAX_NAME_LENGTH = 200
FLOW_KEY = re.compile(r"[^*/\x00-\x1f\x7f-\x9f]{1,200}")
NAME = re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,200}")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
RESERVED_NAME = "batch"

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description='Unique; what PUT and people address the job by. Not "batch", no "/".',
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
    if name == RESERVED_NAME:
        return f"cannot be {RESERVED_NAME!r}, which is an address of its own: choose another name"
    return None
