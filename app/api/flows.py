"""The limits of flows: set, list, read, delete; and end what a target asked for."""

from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.params import PathParameter

from app.api.body import decode_action, decode_body
from app.api.parameters import Clock, Cursor, Db, Limit
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.names import flow_key_error
from app.db import flow_limits
from app.errors import FieldError, InvalidInput
from app.jobs.pauses import check_until
from app.wire.actions import NoFields
from app.wire.flows import Flow, FlowLimits, FlowPage
from app.wire.pages import FLOWS
from app.wire.pauses import JobPause

FlowKey = Annotated[
    str,
    PathParameter(
        description="The flow_key of jobs, or a pattern such as tenant-*, whose limits count where "
        "a flow that it matches says nothing."
    ),
]


def check_key(flow_key: str) -> None:
    """Refuse what can be neither the key of a flow nor a pattern.

    Raises:
        InvalidInput: for `flow_key`.
    """
    if error := flow_key_error(flow_key, may_be_pattern=True):
        raise InvalidInput(FieldError(field="flow_key", message=error))


@put(
    "/{flow_key:str}",
    operation_id="putFlow",
    summary="Set the limits of a flow",
    opt={
        "scope": Scope.WRITE,
        "body": FlowLimits,
        "also": (201,),
        "problems": (400, 409, 413, 415, 422),
    },
)
async def put_flow(request: ApiRequest, db: Db, flow_key: FlowKey) -> Response[Flow]:
    """They replace those that there were, and count from the next claim on, on all instances."""
    check_key(flow_key)
    given = await decode_body(request, FlowLimits)
    if errors := [*given.errors()]:
        raise InvalidInput(*errors)
    is_new = await flow_limits.put(db, flow_key, given)
    return Response(await flow_limits.find(db, flow_key), status_code=201 if is_new else 200)


@get("/", operation_id="listFlows", summary="List flows", opt={"scope": Scope.READ})
async def list_flows(db: Db, limit: Limit = 50, cursor: Cursor = None) -> FlowPage:
    """Those that have limits, and those that a target asked to hold, by key."""
    page = await flow_limits.list_page(db, after=FLOWS.read(cursor), limit=limit)
    return FlowPage(items=page.items, next_cursor=FLOWS.after(page.items, more=page.more))


@get(
    "/{flow_key:str}",
    operation_id="getFlow",
    summary="Read how a flow stands",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_flow(db: Db, flow_key: FlowKey) -> Flow:
    """Its own limits, without those of patterns, and how much of them is used."""
    return await flow_limits.find(db, flow_key)


@delete(
    "/{flow_key:str}",
    operation_id="deleteFlow",
    summary="Delete the limits of a flow",
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def delete_flow(db: Db, flow_key: FlowKey) -> None:
    """Its jobs stay, and are limited by the patterns that match, if any."""
    await flow_limits.delete(db, flow_key)


@post(
    "/{flow_key:str}/pause",
    operation_id="pauseFlow",
    summary="Pause a flow",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": JobPause,
        "body_may_be_left_out": True,
        "problems": (400, 409, 413, 415, 422),
    },
)
async def pause_flow(request: ApiRequest, db: Db, clock: Clock, flow_key: FlowKey) -> Flow:
    """Its jobs keep their plan and wait; what executes goes on, and its limits stay.

    With `until` it is resumed by itself then. A pause that there is gets this reason and end.
    """
    check_key(flow_key)
    wanted = await decode_action(request, JobPause)
    check_until(wanted.until, now=await clock.now())
    await flow_limits.pause(db, flow_key, reason=wanted.reason, until=wanted.until)
    return await flow_limits.find(db, flow_key)


@post(
    "/{flow_key:str}/resume",
    operation_id="resumeFlow",
    summary="Resume a flow",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": NoFields,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def resume_flow(request: ApiRequest, db: Db, flow_key: FlowKey) -> Flow:
    """Its jobs start again, as far as its limits allow. Idempotent."""
    check_key(flow_key)
    await decode_action(request, NoFields)
    await flow_limits.resume(db, flow_key)
    return await flow_limits.find(db, flow_key)


@post(
    "/{flow_key:str}/release",
    operation_id="releaseFlow",
    summary="End what a target asked for",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": NoFields,
        "body_may_be_left_out": True,
        "problems": (400, 404, 413, 415, 422),
    },
)
async def release_flow(request: ApiRequest, db: Db, flow_key: FlowKey) -> Flow:
    """Jobs of the flow start again before held_until, as far as its limits allow."""
    await decode_action(request, NoFields)
    await flow_limits.release(db, flow_key)
    return await flow_limits.find(db, flow_key)
