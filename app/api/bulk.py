"""Actions on many jobs or executions at once: preview, ask, follow, cancel."""

from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.params import PathParameter

from app.api.body import decode_action, decode_body, is_dry_run
from app.api.parameters import Clock, Cursor, Db, Keys, Limit
from app.api.problems import ApiRequest
from app.api.responses import LOCATION
from app.core.access.api_key import Scope
from app.db import bulk
from app.errors import StateConflict
from app.jobs import bulk_requests
from app.wire.actions import NoFields
from app.wire.bulk import Bulk, BulkPage, BulkPreview, BulkRequest
from app.wire.pages import BULK

Id = Annotated[UUID, PathParameter(description="The id of a bulk action.")]


@post(
    "/",
    operation_id="askBulk",
    summary="Do something with all jobs, or executions, that a filter finds",
    status_code=202,
    response_headers=[LOCATION],
    opt={
        "scope": Scope.WRITE,
        "body": BulkRequest,
        "also": (200,),
        "problems": (400, 413, 415, 422),
    },
)
async def ask_bulk(
    request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys
) -> Response[Bulk | BulkPreview]:
    """With `dry_run` it is counted and shown what is found (200), and nothing is changed.

    Else an instance works on it in small steps, which make no job late; each job is touched at most
    once. The filter decides when its turn comes; what is created later than the request is left.
    """
    given = await decode_body(request, BulkRequest)
    if given.dry_run or is_dry_run(request):
        return Response(await bulk_requests.preview(db, given, secret_keys, clock), status_code=200)
    asked = await bulk_requests.ask(db, given, secret_keys, clock)
    return Response(asked, status_code=202, headers={"Location": f"/v1/bulk/{asked.id}"})


@get(
    "/",
    operation_id="listBulk",
    summary="List bulk actions, newest first",
    opt={"scope": Scope.READ, "problems": (422,)},
)
async def list_bulk(db: Db, limit: Limit = 50, cursor: Cursor = None) -> BulkPage:
    """Those that have ended are listed as long as executions are kept."""
    page = await bulk.list_page(db, before=BULK.read(cursor), limit=limit)
    items = [bulk_requests.masked(one) for one in page.items]
    return BulkPage(items=items, next_cursor=BULK.after(page.items, more=page.more))


@get(
    "/{id:uuid}",
    operation_id="getBulk",
    summary="Read how far a bulk action is",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_bulk(db: Db, id: Id) -> Bulk:
    """`matched` counts what it has come to: what was changed, was so already, or failed."""
    return bulk_requests.masked(await bulk.find(db, id))


@post(
    "/{id:uuid}/cancel",
    operation_id="cancelBulk",
    summary="End a bulk action before its next step",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": NoFields,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def cancel_bulk(request: ApiRequest, db: Db, id: Id) -> Bulk:
    """What it has changed stays changed. Idempotent."""
    await decode_action(request, NoFields)
    is_cancelled = await bulk.cancel(db, id)
    found = await bulk.find(db, id)
    if not is_cancelled and found.cancelled_at is None:
        message = f"the bulk action {id} has ended ({found.state}): there is nothing to cancel"
        raise StateConflict(message)
    return bulk_requests.masked(found)
