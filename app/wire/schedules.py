"""Previews of schedules, as they are asked for and answered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, field

from app.core.jobs.job import Instant
from app.core.jobs.names import Calendars
from app.core.schedule.schedule import DstGap, DstOverlap


class SchedulePreview(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule to try out, with the fields that a job has for it."""

    run_at: Instant | None = None
    cron: str | None = None
    timezone: str = "UTC"
    every_seconds: float | None = None
    dst_gap: DstGap = DstGap.RUN_AFTER
    dst_overlap: DstOverlap = DstOverlap.FIRST
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    jitter_seconds: float | None = None
    jitter_percent: float | None = None
    calendars: Annotated[
        Calendars | None, Meta(description="Whose closed time is marked; null: those of job_id.")
    ] = None
    count: Annotated[int, Meta(ge=1, le=100, description="How many runs to show.")] = 5
    from_: Annotated[
        Instant | None, Meta(description="Runs after this instant; null: after now.")
    ] = field(name="from", default=None)
    job_id: Annotated[
        UUID | None, Meta(description="Whose H and jitter are meant, and whose skipped runs.")
    ] = None


class PreviewedRun(Struct, frozen=True, kw_only=True):
    """A run that the schedule has."""

    at: datetime
    skipped: Annotated[bool, Meta(description="The job job_id is to skip it.")]
    local: Annotated[datetime, Meta(description="The same instant as the zone's clocks show it.")]
    effective_at: Annotated[
        datetime, Meta(description="When it starts: later, with a jitter, than this instant.")
    ]
    closed_until: Annotated[
        datetime | None, Meta(description="The calendars close it until then; null: they do not.")
    ]


class PreviewedSchedule(Struct, frozen=True, kw_only=True):
    """What a schedule comes to."""

    description: str
    runs: list[PreviewedRun]
