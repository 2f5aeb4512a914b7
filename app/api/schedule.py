"""Shows the next runs of a schedule, before any job has the schedule."""

from datetime import datetime
from uuid import UUID

from litestar import post

from app.api.body import decode_body
from app.api.parameters import Clock, sound
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.identity import NIL
from app.core.jobs.job import SCHEDULE_FIELDS
from app.core.schedule.schedule import (
    Schedule,
    check,
    first_run,
    normalized,
    run_after,
)
from app.core.schedule.words import describe
from app.core.schedule.zones import zone_named
from app.wire.schedules import PreviewedRun, PreviewedSchedule, SchedulePreview


@post(
    "/preview",
    operation_id="previewSchedule",
    summary="Show the next runs of a schedule",
    status_code=200,
    opt={"scope": Scope.READ, "body": SchedulePreview, "problems": (400, 413, 415, 422)},
)
async def preview_schedule(request: ApiRequest, clock: Clock) -> PreviewedSchedule:
    """The schedule is also described in words. Nothing is stored."""
    given = await decode_body(request, SchedulePreview)
    now = sound(given.from_, "from") or await clock.now()
    schedule = normalized(Schedule(**{name: getattr(given, name) for name in SCHEDULE_FIELDS}))
    id = given.job_id or NIL
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
