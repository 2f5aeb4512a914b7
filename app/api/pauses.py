"""Pauses of a tag and of everything."""

from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.params import PathParameter
from msgspec.structs import replace

from app.api.body import decode_action, decode_body, is_dry_run
from app.api.parameters import Clock, Db
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import pauses as stored
from app.jobs import pauses
from app.wire.pauses import EndedPause, NewPause, Pause, PauseList, PausePreview, Resumption


@get(
    "/",
    operation_id="listPauses",
    summary="List what is paused of tags, and everything",
    opt={"scope": Scope.READ},
)
async def list_pauses(db: Db) -> PauseList:
    """A pause of everything comes first. Paused jobs: `GET /v1/jobs?state=paused`."""
    return PauseList(items=await stored.list_all(db, limit=pauses.MAX_PAUSES))


@post(
    "/",
    operation_id="pause",
    summary="Pause a tag, or everything",
    status_code=200,
    opt={"scope": Scope.WRITE, "body": NewPause, "problems": (400, 409, 413, 415, 422)},
)
async def create_pause(request: ApiRequest, db: Db, clock: Clock) -> Pause | PausePreview:
    """From now on nothing of that is claimed, of jobs to come neither; what is claimed goes on.

    With `dry_run` its jobs are counted, and nothing is changed.
    """
    return await pauses.pause(db, clock, await decode_body(request, NewPause))


@post(
    "/{pause:uuid}/resume",
    operation_id="endPause",
    summary="End a pause of a tag or of everything, or count what it holds up",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": Resumption,
        "body_may_be_left_out": True,
        "problems": (400, 404, 413, 415, 422),
    },
)
async def end_pause(
    request: ApiRequest,
    db: Db,
    pause: Annotated[UUID, PathParameter(description="The id of a pause.")],
) -> EndedPause:
    """`missed` says what becomes of the runs that were missed, else the `misfire` of each job."""
    wanted = await decode_action(request, Resumption)
    if is_dry_run(request):
        wanted = replace(wanted, dry_run=True)
    return await pauses.end(db, pause, wanted)
