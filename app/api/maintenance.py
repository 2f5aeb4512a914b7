"""Windows of maintenance over a tag or over all jobs."""

from typing import Annotated
from uuid import UUID

from litestar import delete, get, post
from litestar.params import PathParameter

from app.api.body import decode_body
from app.api.parameters import Db
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import maintenance as stored
from app.errors import FieldError, InvalidInput
from app.wire.maintenance import Maintenance, MaintenanceList, NewMaintenance


@get(
    "/",
    operation_id="listMaintenance",
    summary="List windows of maintenance",
    opt={"scope": Scope.READ},
)
async def list_maintenance(db: Db) -> MaintenanceList:
    """Those under way or to come first, the soonest before; at most 200."""
    return MaintenanceList(items=await stored.list_all(db))


@post(
    "/",
    operation_id="beginMaintenance",
    summary="Lay a window of maintenance over a tag, or over all jobs",
    status_code=201,
    opt={"scope": Scope.WRITE, "body": NewMaintenance, "problems": (400, 409, 413, 415, 422)},
)
async def begin_maintenance(request: ApiRequest, db: Db) -> Maintenance:
    """Runs that are due in it are missed, or start once it is over; nothing is told of them."""
    wanted = await decode_body(request, NewMaintenance)
    if wanted.all == (wanted.tag is not None):
        field = "tag" if wanted.tag is None else "all"
        raise InvalidInput(FieldError(field=field, message="give exactly one of tag and all: true"))
    return await stored.find(db, await stored.begin(db, wanted))


@delete(
    "/{maintenance:uuid}",
    operation_id="endMaintenance",
    summary="End maintenance, or take it back",
    opt={"scope": Scope.WRITE, "problems": (404,)},
)
async def end_maintenance(
    db: Db, maintenance: Annotated[UUID, PathParameter(description="The id of a window.")]
) -> None:
    """Runs that it put off start within seconds, unless something else closes their time."""
    await stored.end(db, maintenance)
