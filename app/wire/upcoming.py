"""Runs to come as they are answered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.wire.pages import Page


class UpcomingRun(Struct, frozen=True, kw_only=True):
    """A run to come."""

    at: Annotated[datetime, Meta(description="When it starts. In the past: it is late.")]
    scheduled_for: Annotated[
        datetime, Meta(description="Whose run it is: earlier if it is spread, or a retry.")
    ]
    job_id: UUID
    job_name: str | None
    skipped: Annotated[bool, Meta(description="Somebody skips it: it is not carried out.")]
    closed_until: Annotated[
        datetime | None,
        Meta(description="Its calendars close it until then: it is missed, or starts then."),
    ] = None


class Bucket(Struct, frozen=True, kw_only=True):
    """A span of time, and how many runs it has."""

    at: Annotated[datetime, Meta(description="When it begins; it has bucket_seconds.")]
    runs: int
    skipped: Annotated[int, Meta(description="How many of these are to be skipped.")]


class Upcoming(Page[UpcomingRun], frozen=True, kw_only=True):
    """Runs to come, the earliest first; or, with `bucket_seconds`, how many there are when."""

    until: Annotated[
        datetime,
        Meta(description="The runs before it are listed; earlier than asked for if too many."),
    ]
    buckets: Annotated[
        list[Bucket] | None, Meta(description="With bucket_seconds: those that have any runs.")
    ]
