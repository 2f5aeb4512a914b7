"""The record of executions, and doing a past run again."""

from datetime import datetime
from typing import Annotated

from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter

from app.api.parameters import Cursor, Db, Limit, Reference, known_outcomes, sound
from app.api.responses import ETAG, answer
from app.core.access.api_key import Scope
from app.core.jobs.job import Job, job_id
from app.core.runs.outcome import Outcome
from app.db import Database, executions, jobs
from app.db.executions import ExecutionFilter
from app.errors import JobNotFound
from app.jobs import actions
from app.wire.executions import Execution, ExecutionPage
from app.wire.pages import EXECUTIONS

Outcomes = Annotated[
    list[str] | None,
    QueryParameter(
        name="outcome",
        description=f"Any of {', '.join(Outcome)}: repeated, or separated by commas.",
    ),
]
Since = Annotated[
    datetime | None, QueryParameter(name="from", description="Finished then or later.")
]
Until = Annotated[datetime | None, QueryParameter(name="to", description="Finished earlier.")]
MEANT = {
    **dict.fromkeys(("state", "status", "result"), "did you mean outcome?"),
    **dict.fromkeys(("since", "after", "start"), "did you mean from?"),
    **dict.fromkeys(("until", "before", "end"), "did you mean to?"),
}
"""What may be meant by parameters that there are not."""
OF_ONE_JOB = "the executions of one job are at /v1/jobs/JOB/executions, by its id or name"
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
) -> ExecutionPage:
    """Executions of a deleted job are listed too, by its id, for as long as they are kept."""
    id = job_id(job) or (await jobs.find(db, job)).id
    wanted = ExecutionFilter(
        job_id=id,
        outcomes=known_outcomes(outcomes, "outcome"),
        since=sound(since, "from"),
        until=sound(until, "to"),
    )
    page = await listing(db, wanted, cursor=cursor, limit=limit)
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
        "meant": MEANT | dict.fromkeys(("job", "job_id", "job_name", "name"), OF_ONE_JOB),
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
) -> ExecutionPage:
    """Every attempt that was carried out has an execution, and so has every run that was missed."""
    wanted = ExecutionFilter(
        outcomes=known_outcomes(outcomes, "outcome"),
        since=sound(since, "from"),
        until=sound(until, "to"),
    )
    return await listing(db, wanted, cursor=cursor, limit=limit)


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
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def replay_execution(db: Db, id: Id) -> Response[Job]:
    """The new run has the same `scheduled_for` and idempotency key; the schedule goes on."""
    return answer(await actions.replay(db, id), status=202)


async def listing(
    db: Database, wanted: ExecutionFilter, *, cursor: str | None, limit: int
) -> ExecutionPage:
    """Get one page."""
    page = await executions.list_page(db, wanted, before=EXECUTIONS.read(cursor), limit=limit)
    return ExecutionPage(
        items=page.items,
        next_cursor=EXECUTIONS.after(page.items, more=page.more),
    )
