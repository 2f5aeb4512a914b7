"""Executions: list, read, replay a past run, and cancel one that is under way."""

from datetime import datetime
from typing import Annotated

from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter

from app.api.body import decode_action
from app.api.parameters import OUTCOMES_DESCRIPTION, Cursor, Db, Limit, Reference
from app.api.problems import ApiRequest
from app.api.responses import ETAG, answer
from app.core.access.api_key import Scope
from app.core.jobs.job import Job
from app.core.jobs.names import job_id
from app.db import Database, executions, jobs
from app.db.executions import ExecutionFilter
from app.errors import JobNotFound
from app.jobs import actions
from app.jobs.filters import read_execution_filter
from app.wire.actions import Asked
from app.wire.bulk import BulkFilter
from app.wire.executions import Cancellation, Execution, ExecutionPage
from app.wire.pages import EXECUTIONS

Outcomes = Annotated[
    list[str] | None, QueryParameter(name="outcome", description=OUTCOMES_DESCRIPTION)
]
Since = Annotated[
    datetime | None, QueryParameter(name="from", description="Finished then or later.")
]
Until = Annotated[datetime | None, QueryParameter(name="to", description="Finished earlier.")]
Kind = Annotated[str | None, QueryParameter(description="Such as http.")]
Reasons = Annotated[
    list[str] | None,
    QueryParameter(
        name="reason", description="Any of them, such as status,connect: why it failed."
    ),
]
Statuses = Annotated[
    list[str] | None,
    QueryParameter(name="status", description="What was answered: any of them, such as 429,5xx."),
]
LateBy = Annotated[
    float | None,
    QueryParameter(ge=0, description="Seconds: started so long after scheduled_for, or later."),
]
SlowerThan = Annotated[
    float | None, QueryParameter(ge=0, description="Seconds that it took more than.")
]
Tags = Annotated[
    list[str] | None,
    QueryParameter(name="tag", description="Of jobs that have all of these tags now."),
]
Host = Annotated[
    str | None,
    QueryParameter(description="Of jobs whose target has this host in its url now."),
]
DeadLetter = Annotated[
    bool | None,
    QueryParameter(description="Whether they are the last of a run that was given up."),
]
MEANT = {
    **dict.fromkeys(("state", "result"), "did you mean outcome?"),
    **dict.fromkeys(("status_code", "code"), "did you mean status?"),
    **dict.fromkeys(("lag", "lag_seconds", "late"), "did you mean late_by?"),
    **dict.fromkeys(("duration", "duration_seconds", "slow"), "did you mean slower_than?"),
    **dict.fromkeys(("since", "after", "start"), "did you mean from?"),
    **dict.fromkeys(("until", "before", "end"), "did you mean to?"),
}
"""Hints for unknown parameters, by the name of the parameter."""
Id = Annotated[int, PathParameter(description="The id of an execution.")]


@get(
    "/jobs/{job:str}/executions",
    operation_id="listExecutionsOfJob",
    summary="List the executions of a job, newest first",
    opt={"scope": Scope.READ, "problems": (404, 422), "meant": MEANT},
)
async def list_executions_of_job(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    db: Db,
    job: Reference,
    limit: Limit = 50,
    cursor: Cursor = None,
    outcomes: Outcomes = None,
    since: Since = None,
    until: Until = None,
    reasons: Reasons = None,
    statuses: Statuses = None,
    late_by: LateBy = None,
    slower_than: SlowerThan = None,
    dead_letter: DeadLetter = None,
) -> ExecutionPage:
    """Executions of a deleted job are listed too, by its id, for as long as they are kept."""
    id = job_id(job) or (await jobs.find(db, job)).id
    given = BulkFilter(
        outcome=outcomes,
        since=since,
        until=until,
        job=str(id),
        reason=reasons,
        status=statuses,
        late_by=late_by,
        slower_than=slower_than,
        dead_letter=dead_letter,
    )
    wanted = await read_execution_filter(db, given)
    page = await read_page(db, wanted, cursor=cursor, limit=limit)
    if not page.items and not await executions.is_known_job(db, id):
        message = f"no job has the id {str(id)!r}, nor are there executions of one that had"
        raise JobNotFound(message)
    return page


@get(
    "/executions",
    operation_id="listExecutions",
    summary="List executions, newest first",
    opt={
        "scope": Scope.READ,
        "problems": (422,),
        "meant": MEANT | dict.fromkeys(("job_id", "job_name", "name"), "did you mean job?"),
    },
)
async def list_executions(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    db: Db,
    limit: Limit = 50,
    cursor: Cursor = None,
    outcomes: Outcomes = None,
    since: Since = None,
    until: Until = None,
    job: Annotated[str | None, QueryParameter(description="The id or the name of a job.")] = None,
    tags: Tags = None,
    kind: Kind = None,
    host: Host = None,
    reasons: Reasons = None,
    statuses: Statuses = None,
    late_by: LateBy = None,
    slower_than: SlowerThan = None,
    dead_letter: DeadLetter = None,
) -> ExecutionPage:
    """Every attempt that was carried out has an execution, and so has every run that was missed.

    A page of filters that few executions meet may be short, or empty: the list ends where
    `next_cursor` is null.
    """
    given = BulkFilter(
        outcome=outcomes,
        since=since,
        until=until,
        job=job,
        tag=tags,
        kind=kind,
        host=host,
        reason=reasons,
        status=statuses,
        late_by=late_by,
        slower_than=slower_than,
        dead_letter=dead_letter,
    )
    wanted = await read_execution_filter(db, given)
    return await read_page(db, wanted, cursor=cursor, limit=limit)


@get(
    "/executions/{id:int}",
    operation_id="getExecution",
    summary="Read an execution",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_execution(db: Db, id: Id) -> Execution:
    """An execution that is under way is not on record yet."""
    return await executions.find(db, id)


@post(
    "/executions/{id:int}/replay",
    operation_id="replayExecution",
    summary="Run that occurrence again, now",
    status_code=202,
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": Asked,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def replay_execution(request: ApiRequest, db: Db, id: Id) -> Response[Job]:
    """The new run has the same `scheduled_for` and idempotency key; the schedule goes on."""
    wanted = await decode_action(request, Asked)
    return answer(await actions.replay(db, id, overlap=wanted.overlap), status=202)


@post(
    "/executions/{id:int}/cancel",
    operation_id="cancelExecution",
    summary="Cut off an execution that is under way",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": Cancellation,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def cancel_execution(request: ApiRequest, db: Db, id: Id) -> Execution:
    """It is on record as `cancelled`, and its run is over unless another attempt is asked for.

    The instance is told at once, by its next extension of the lease at the latest. What the target
    has done by then, or does with what it has received, is not undone. Idempotent.
    """
    given = await decode_action(request, Cancellation)
    return await actions.cancel(db, id, retry=given.retry)


async def read_page(
    db: Database, wanted: ExecutionFilter, *, cursor: str | None, limit: int
) -> ExecutionPage:
    """Read one page of the executions that the filters allow."""
    page = await executions.list_page(db, wanted, before=EXECUTIONS.read(cursor), limit=limit)
    return ExecutionPage(
        items=page.items,
        next_cursor=EXECUTIONS.after(page.items, more=page.more, reached=page.reached),
    )
