"""Checks as clients read them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct


class Check(Struct, frozen=True, kw_only=True):
    """How a check stands, which is a job that expects pings."""

    job_id: UUID
    name: str | None
    status: Annotated[
        str,
        Meta(
            description="new, started, up, late (the ping is due and the grace goes on), down (it "
            "was missed, or said that it failed), paused, or invalid: pings are recorded, and "
            "nobody notices one that does not come."
        ),
    ]
    expected_at: Annotated[
        datetime | None, Meta(description="The run whose ping comes next, without the grace.")
    ]
    has_token: Annotated[bool, Meta(description="Whether there is an address for its pings.")]
    token_made_at: datetime | None
    started_at: Annotated[datetime | None, Meta(description="The latest start.")]
    ended_at: Annotated[datetime | None, Meta(description="The latest end, well or not.")]


class CheckAddress(Struct, frozen=True, kw_only=True):
    """The address for the pings of a check, which is shown this once."""

    token: str
    path: Annotated[
        str, Meta(description="Behind the host: itself for a success, with /start, /fail, …")
    ]
