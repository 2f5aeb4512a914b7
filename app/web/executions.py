"""The list of executions, and the page of one."""

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import executions, explanations
from app.db.executions import ExecutionFilter
from app.errors import InvalidInput, JobNotFound
from app.jobs.filters import execution_filter
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.web.search import OF_EXECUTIONS, searched
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
            wanted: ExecutionFilter = await execution_filter(reader, search.wanted)
            found = await executions.list_page(
                reader, wanted, before=EXECUTIONS.read(cursor), limit=ON_A_PAGE
            )
            listed = found.items
            following = EXECUTIONS.after(listed, more=found.more, reached=found.reached)
        except InvalidInput as refused:
            error = refused.errors[0].message
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
        at=await clock.now(),
    )


@get("/executions/{id:int}", opt={"scope": Scope.READ})
async def execution_page(
    request: ApiRequest, reader: Reader, clock: Clock, id: FromPath[int]
) -> Response[bytes]:
    """Show one execution whole."""
    one = await executions.find(reader, id)
    try:
        reasons = (
            await explanations.explain(reader, str(one.job_id), at=one.scheduled_for)
        ).reasons
        is_kept = True
    except JobNotFound:
        reasons, is_kept = [], False  # the job was deleted
    return page(
        request,
        "execution.html",
        one=one,
        reasons=reasons,
        is_kept=is_kept,
        at=await clock.now(),
    )
