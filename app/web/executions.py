"""The list of executions, and the page of one."""

import asyncio
from collections.abc import Sequence

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from app.api.access import Caller
from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.config import EXECUTION_ID
from app.core.access.api_key import Scope
from app.core.runs.outcome import Outcome
from app.db import executions, explanations
from app.db.database import Database
from app.db.executions import ExecutionFilter
from app.errors import InvalidInput, JobNotFound
from app.jobs.filters import read_execution_filter
from app.web.changes import changes_since, last_success, read_edits
from app.web.facts import see_once
from app.web.parameters import ON_A_PAGE, Reader
from app.web.pictures import STRIP_BARS
from app.web.rendering import page
from app.web.search import OF_EXECUTIONS, searched
from app.web.shown_lists import Open, stream_address
from app.wire.executions import Execution
from app.wire.explanations import Reason
from app.wire.pages import EXECUTIONS

CHOICES = {
    "": "All",
    "outcome:failed,timed_out,lost": "Failed",
    "outcome:missed": "Missed",
    "dead:true": "Given up",
    "late:1": "Late",
}
"""Searches that people want most, as links."""


@get("/executions", opt={"scope": Scope.READ})
async def executions_page(
    request: ApiRequest,
    reader: Reader,
    clock: Clock,
    q: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List the executions that a search finds, newest first."""
    search = searched(q, OF_EXECUTIONS, words="job")
    error = search.error
    listed, following = [], None
    if not error:
        try:
            wanted: ExecutionFilter = await read_execution_filter(reader, search.wanted)
            found = await executions.list_page(
                reader, wanted, before=EXECUTIONS.read(cursor), limit=ON_A_PAGE
            )
            listed = found.items
            following = EXECUTIONS.after(listed, more=found.more, reached=found.reached)
        except InvalidInput as refused:
            error = refused.errors[0].message
    shown = tuple(one.id for one in listed)
    asked = Open(of="executions", q=search.text, sort="newest", cursor=cursor, shown=shown)
    return page(
        request,
        "executions.html",
        status=422 if error else 200,
        search=search,
        error=error,
        listed=listed,
        following=following,
        cursor=cursor,
        choices=CHOICES,
        stream=stream_address(asked, ()) if search.text and not error else "",
        at=await clock.now(),
    )


@get("/executions/{id:int}", opt={"scope": Scope.READ})
async def execution_page(
    request: ApiRequest, reader: Reader, clock: Clock, id: FromPath[int]
) -> Response[bytes]:
    """Show one execution whole, with the others of its run, and what led up to a failure."""
    one = await executions.find(reader, id)
    caller: Caller = request.scope["user"]
    may_see = Scope.ADMIN in caller.scopes and one.outcome is not Outcome.SUCCEEDED
    around, tries, edited, became = await asyncio.gather(
        see_once(executions.list_around(reader, one, limit=STRIP_BARS)),
        see_once(executions.list_of_run(reader, one, limit=ON_A_PAGE)),
        read_edits(reader, one.job_id, may_see=may_see),
        explain_run(reader, one),
    )
    listed = around.value or [one]
    so_far = [each for each in listed if each.id <= one.id]
    success = last_success(so_far)
    attempts = tries.value or [one]
    told = {each.id for each in attempts} if len(attempts) > 1 else set[int]()
    return page(
        request,
        "execution.html",
        one=one,
        reasons=[each for each in became or () if each.facts.execution_id not in told],
        is_kept=became is not None,
        around=around,
        tries=tries,
        attempts=attempts,
        last_success=success,
        changes=changes_since(success, so_far, edited.value or (), until=one.finished_at),
        trace=request.app.state.trace_url.replace(EXECUTION_ID, str(one.id)),
        at=await clock.now(),
    )


async def explain_run(reader: Database, one: Execution) -> Sequence[Reason] | None:
    """Explain what became of the run of an execution; None: its job was deleted."""
    try:
        explained = await explanations.explain(reader, str(one.job_id), at=one.scheduled_for)
    except JobNotFound:
        return None
    return explained.reasons
