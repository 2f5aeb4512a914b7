"""Windows of maintenance as clients write and read them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.jobs.job import Instant
from app.core.jobs.names import Tag
from app.core.runs.claim import OnClosed
from app.wire.calendars import CalendarTime
from app.wire.pauses import Why


class NewMaintenance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window that is laid over a tag or over all jobs: one span, or the time of a calendar."""

    tag: Annotated[Tag | None, Meta(description="Null, with `all`: all jobs.")] = None
    all: Annotated[bool, Meta(description="True without a tag: all jobs.")] = False
    starts_at: Annotated[Instant, Meta(description="Null: now.")] | None = None
    ends_at: Annotated[Instant, Meta(description="In place of `calendar`.")] | None = None
    calendar: (
        Annotated[str, Meta(max_length=100, description="A calendar whose time is maintenance.")]
        | None
    ) = None
    on_closed: Annotated[
        OnClosed,
        Meta(description="What becomes of runs: missed, or the latest starts at the end."),
    ] = OnClosed.SKIP
    reason: Why | None = None


class Maintenance(Struct, frozen=True, kw_only=True):
    """A window of maintenance."""

    id: UUID
    tag: Annotated[str | None, Meta(description="Null: all jobs.")]
    calendar: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    on_closed: OnClosed
    reason: str | None
    is_under_way: bool
    next: Annotated[
        CalendarTime | None, Meta(description="The time that it has now or next; null: none.")
    ]
    created_at: datetime
    created_by: str


class MaintenanceList(Struct, frozen=True, kw_only=True):
    """The windows under way and to come, and those that ended within 30 days."""

    items: list[Maintenance]
