"""Trying out a schedule before any job has it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import post
from msgspec import Meta, Struct, field

from app.api.body import decode_body
from app.api.paging import sound
from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.job import SCHEDULE_FIELDS, Instant
from app.core.schedule.schedule import (
    DstGap,
    DstOverlap,
    Schedule,
    check,
    first_run,
    normalized,
    run_after,
)
from app.core.schedule.words import describe
from app.core.schedule.zones import zone_named

NO_JOB = UUID(int=0)


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
    count: Annotated[int, Meta(ge=1, le=100, description="How many runs to show.")] = 5
    from_: Annotated[
        Instant | None, Meta(description="Runs after this instant; null: after now.")
    ] = field(name="from", default=None)
    job_id: Annotated[
        UUID | None, Meta(description="Whose H is meant: it differs from job to job.")
    ] = None


class PreviewedRun(Struct, frozen=True, kw_only=True):
    """A run that the schedule has."""

    at: datetime
    local: Annotated[datetime, Meta(description="The same instant as the zone's clocks show it.")]


class PreviewedSchedule(Struct, frozen=True, kw_only=True):
    """What a schedule comes to."""

    description: str
    runs: list[PreviewedRun]


@post(
    "/preview",
    operation_id="previewSchedule",
    summary="Show the next runs of a schedule",
    status_code=200,
    opt={"scope": Scope.READ, "body": SchedulePreview, "problems": (400, 413, 415, 422)},
)
async def preview_schedule(request: ApiRequest, clock: Clock) -> PreviewedSchedule:
    """And say in words when that is. Nothing is stored."""
    given = await decode_body(request, SchedulePreview)
    now = sound(given.from_, "from") or await clock.now()
    schedule = normalized(Schedule(**{name: getattr(given, name) for name in SCHEDULE_FIELDS}))
    id = given.job_id or NO_JOB
    check(schedule, job_id=id, now=now)
    zone = zone_named(schedule.timezone)
    return PreviewedSchedule(
        description=describe(schedule, job_id=id),
        runs=[
            PreviewedRun(at=run, local=run.astimezone(zone))
            for run in next_runs(schedule, id, now=now, count=given.count)
        ],
    )


def next_runs(schedule: Schedule, job_id: UUID, *, now: datetime, count: int) -> list[datetime]:
    """List the first runs after `now`, fewer where the schedule ends before."""
    runs: list[datetime] = []
    run = first_run(schedule, job_id=job_id, now=now)
    while run is not None and len(runs) < count:
        runs.append(run)
        run = run_after(schedule, run, job_id=job_id)
    return runs
