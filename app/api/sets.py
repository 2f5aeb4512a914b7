"""Sets of jobs: plan, apply, list, read, forget."""

import asyncio
from typing import Annotated, Any

from litestar import delete, get, post
from litestar.datastructures import State
from litestar.params import PathParameter

from app.api.batch import MAX_BYTES
from app.api.body import receive
from app.api.parameters import Clock, Cursor, Db, Keys, Limit
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.sets.plan import SetPlan
from app.db import sets as stored
from app.jobs.set_input import read_set
from app.jobs.set_schema import ADDRESS, set_schema
from app.jobs.set_turns import apply_in_turn
from app.jobs.sets import plan_set
from app.wire.pages import SETS
from app.wire.sets import SetMembers, SetPage, SetRequest

Name = Annotated[str, PathParameter(description="The name of a set.")]


@post(
    "/plan",
    operation_id="planJobs",
    summary="Say what a set of jobs would change",
    status_code=200,
    request_max_body_size=MAX_BYTES,
    opt={"scope": Scope.READ, "body": SetRequest, "problems": (400, 413, 415, 422)},
)
async def plan_jobs(request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys) -> SetPlan:
    """Field by field, with the next runs of each changed schedule before and after.

    Nothing is written. The `digest` of the plan makes an application do this and nothing else.
    """
    desired = await asyncio.to_thread(read_set, await receive(request))
    return await plan_set(db, clock, secret_keys, desired)


@post(
    "/apply",
    operation_id="applyJobs",
    summary="Make all jobs as a set has them, or change nothing",
    status_code=200,
    request_max_body_size=MAX_BYTES,
    opt={"scope": Scope.WRITE, "body": SetRequest, "problems": (400, 409, 413, 415, 422)},
)
async def apply_jobs(
    request: ApiRequest, state: State, db: Db, clock: Clock, secret_keys: Keys
) -> SetPlan:
    """One transaction; what was done is answered as the plan is. Applied again it changes nothing.

    Jobs of the set that it does not have any more are paused, or deleted with `prune: delete`.
    """
    desired = await asyncio.to_thread(read_set, await receive(request))
    return await apply_in_turn(state.applying, db, clock, secret_keys, desired)


@get("/", operation_id="listSets", summary="List sets of jobs", opt={"scope": Scope.READ})
async def list_sets(db: Db, limit: Limit = 50, cursor: Cursor = None) -> SetPage:
    """By name, each with when and by whom it was last applied."""
    page = await stored.list_page(db, after=SETS.read(cursor), limit=limit)
    return SetPage(items=page.items, next_cursor=SETS.after(page.items, more=page.more))


@get(
    "/{name:str}",
    operation_id="getSet",
    summary="Read a set of jobs",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_set(db: Db, name: Name) -> SetMembers:
    """What belongs to it, also what the file does not have any more."""
    return await stored.find(db, name)


@delete(
    "/{name:str}",
    operation_id="deleteSet",
    summary="Forget a set of jobs",
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def delete_set(db: Db, name: Name) -> None:
    """Its jobs stay as they are, and belong to nobody."""
    await stored.delete(db, name)


@get(ADDRESS, include_in_schema=False, media_type="application/schema+json")
async def jobs_schema() -> dict[str, Any]:
    """The JSON Schema of files with jobs; editors that fetch it have no key."""
    return set_schema()
