"""Jobs: create, replace, list, read, edit, delete."""

from datetime import datetime
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, patch, post, put
from litestar.params import PathParameter, QueryParameter

from app.api.body import JSON, MERGE_PATCH, call_by_length, decode_body
from app.api.parameters import (
    OUTCOMES_DESCRIPTION,
    Clock,
    Cursor,
    Db,
    IfMatch,
    Keys,
    Limit,
    Reference,
)
from app.api.problems import ApiRequest
from app.api.responses import ETAG, LOCATION, answer
from app.api.traced import made_by, traceparent_of
from app.core.access.api_key import Scope
from app.core.jobs.beside import Effect
from app.core.jobs.job import Job, JobDocument, JobPatch, JobReplacement, JobState, document_of
from app.core.jobs.patch import patched
from app.db import jobs, sets
from app.errors import FieldError, InvalidInput
from app.jobs import actions
from app.jobs.create import insert_drafts
from app.jobs.edit import edit_job
from app.jobs.filters import job_filter
from app.jobs.input import NewPlans, draft_new
from app.jobs.preview import find_outlook
from app.jobs.put import check_put_name
from app.jobs.put import put_job as put_named
from app.jobs.shown import masked_job
from app.wire.bulk import BulkFilter
from app.wire.jobs import JobPage, JobSort
from app.wire.pages import JOBS, JOBS_BY_NEXT_RUN

Name = Annotated[str, PathParameter(description="The name of the job, there already or not.")]
WithOutlook = Annotated[
    bool,
    QueryParameter(description="Answer with the schedule in words, the next runs, and more."),
]
Tags = Annotated[
    list[str] | None,
    QueryParameter(name="tag", description="Jobs with all of these: repeated, or with commas."),
]


@post(
    "/",
    operation_id="createJob",
    summary="Create a job",
    response_headers=[ETAG, LOCATION],
    opt={"scope": Scope.WRITE, "body": JobDocument, "problems": (400, 409, 413, 415, 422)},
)
async def create_job(
    *, request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys, outlook: WithOutlook = False
) -> Response[Job]:
    """Give exactly one of `run_at`, `run_in_seconds`, `cron` (with `timezone`), `every_seconds`."""
    document = await decode_body(request, JobDocument)
    document = made_by(document, traceparent_of(request))
    now = await clock.now()
    work = partial(draft_new, keys=secret_keys, plans=NewPlans(now, limits=db.limits))
    draft = await call_by_length(request, work, document)
    [written] = await insert_drafts(db, [draft])
    ahead = await find_outlook(db, written.job, now=now) if outlook else None
    return answer(written.job, status=201, warnings=written.warnings, outlook=ahead)


@put(
    "/{job:str}",
    operation_id="putJob",
    summary="Create or replace a job by name",
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": JobReplacement,
        "also": (201,),
        "problems": (400, 409, 412, 413, 415, 422),
    },
)
async def put_job(  # noqa: PLR0913 - what it takes to read, compare and write
    *,
    request: ApiRequest,
    db: Db,
    clock: Clock,
    secret_keys: Keys,
    job: Name,
    if_match: IfMatch = None,
    outlook: WithOutlook = False,
) -> Response[Job]:
    """A job that is sent again as it is keeps its plan and its ETag.

    What is left out goes back to its default, except that a paused job stays paused. `***` keeps
    the secret that is stored. A job as it was answered may be sent back as a whole.
    """
    check_put_name(job)
    document = document_of(await decode_body(request, JobReplacement))
    written = await put_named(db, clock, secret_keys, job, document, if_match=if_match)
    ahead = await find_outlook(db, written.job, now=await clock.now()) if outlook else None
    status = 201 if written.effect is Effect.CREATED else 200
    return answer(written.job, status=status, warnings=written.warnings, outlook=ahead)


@get(
    "/",
    operation_id="listJobs",
    summary="List jobs, newest first or by next run",
    opt={
        "scope": Scope.READ,
        "problems": (422,),
        "meant": {"id": "a job is read at /v1/jobs/JOB, by its id or name"},
    },
)
async def list_jobs(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    db: Db,
    limit: Limit = 50,
    cursor: Cursor = None,
    tags: Tags = None,
    kind: Annotated[str | None, QueryParameter(description="Such as http.")] = None,
    stands: Annotated[
        JobState | None, QueryParameter(name="state", description="How the jobs stand.")
    ] = None,
    name: Annotated[str | None, QueryParameter(description="How their names begin.")] = None,
    q: Annotated[str | None, QueryParameter(description="Part of name or description.")] = None,
    last_outcomes: Annotated[
        list[str] | None, QueryParameter(name="last_outcome", description=OUTCOMES_DESCRIPTION)
    ] = None,
    host: Annotated[str | None, QueryParameter(description="Of the URL of their target.")] = None,
    failing: Annotated[
        bool | None, QueryParameter(description="Whether they go on although they fail.")
    ] = None,
    next_before: Annotated[
        datetime | None, QueryParameter(description="Their next run is earlier; sorted by that.")
    ] = None,
    sort: Annotated[
        JobSort | None, QueryParameter(description="The newest first, or the next run.")
    ] = None,
) -> JobPage:
    """Jobs created while you page through do not move the pages: they come before the first.

    A page of filters that few jobs meet may be short, or empty: the list ends where `next_cursor`
    is null. By `next_run` there are only the jobs that wait for a run or execute one.
    """
    given = BulkFilter(
        tag=tags,
        kind=kind,
        state=stands,
        name=name,
        q=q,
        last_outcome=last_outcomes,
        host=host,
        failing=failing,
        next_before=next_before,
    )
    wanted = job_filter(given)
    if sort is JobSort.NEWEST and next_before is not None:
        message = "next_before sorts by next run: leave sort out, or write next_run"
        raise InvalidInput(FieldError(field="sort", message=message))
    if sort is JobSort.NEXT_RUN or next_before is not None:
        after = JOBS_BY_NEXT_RUN.read(cursor)
        page = await jobs.list_by_next_run(db, wanted, after=after, limit=limit)
        next_cursor = JOBS_BY_NEXT_RUN.after(page.items, more=page.more, reached=page.reached)
    else:
        page = await jobs.list_page(db, wanted, before=JOBS.read(cursor), limit=limit)
        next_cursor = JOBS.after(page.items, more=page.more, reached=page.reached)
    return JobPage(items=[masked_job(job) for job in page], next_cursor=next_cursor)


@get(
    "/{job:str}",
    operation_id="getJob",
    summary="Read a job",
    response_headers=[ETAG],
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_job(db: Db, job: Reference) -> Response[Job]:
    """Secrets in its target read `***`. `set` is there where the files of one have it."""
    found = await jobs.find(db, job)
    return answer(found, set_name=await sets.find_set_of(db, found.id))


@patch(
    "/{job:str}",
    operation_id="patchJob",
    summary="Edit a job",
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": JobPatch,
        "media_types": (MERGE_PATCH, JSON),
        "problems": (400, 404, 409, 412, 413, 415, 422),
    },
)
async def patch_job(  # noqa: PLR0913 - as put_job
    *,
    request: ApiRequest,
    db: Db,
    clock: Clock,
    secret_keys: Keys,
    job: Reference,
    if_match: IfMatch = None,
) -> Response[Job]:
    """A merge patch (RFC 7396), inside `target` and `metadata` too: null takes a field away.

    So `{"cron": null, "run_at": "2030-01-31T08:30:00Z"}` makes a recurring job a one-off. A job is
    planned anew only if its schedule changes. An execution under way goes on, and does not undo it.
    """
    change = await decode_body(request, JobPatch, media_types=(MERGE_PATCH, JSON))
    edit = await edit_job(
        db,
        clock,
        secret_keys,
        job,
        lambda stored: patched(document_of(stored), change),
        if_match=if_match,
    )
    return answer(edit.job, warnings=edit.warnings)


@delete(
    "/{job:str}",
    operation_id="deleteJob",
    summary="Delete a job",
    opt={"scope": Scope.WRITE, "problems": (404, 409, 412)},
)
async def delete_job(db: Db, job: Reference, if_match: IfMatch = None) -> None:
    """The executions of the job stay on record; one under way goes on to its end.

    Runs that were asked for and have not started are recorded as `missed`, reason `deleted`.
    """
    await actions.delete_job(db, job, if_match=if_match)
