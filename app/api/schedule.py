"""Shows the next runs of a schedule, before any job has the schedule."""

from litestar import post

from app.api.body import decode_body
from app.api.parameters import Clock, Db
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.jobs.preview import preview
from app.wire.filters import sound
from app.wire.schedules import PreviewedSchedule, SchedulePreview


@post(
    "/preview",
    operation_id="previewSchedule",
    summary="Show the next runs of a schedule",
    status_code=200,
    opt={"scope": Scope.READ, "body": SchedulePreview, "problems": (400, 413, 415, 422)},
)
async def preview_schedule(request: ApiRequest, db: Db, clock: Clock) -> PreviewedSchedule:
    """The schedule is also described in words. Nothing is stored."""
    given = await decode_body(request, SchedulePreview)
    now = sound(given.from_, "from") or await clock.now()
    return await preview(db, given, now=now)
