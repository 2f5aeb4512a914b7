"""Jobs: create, replace, list, read, edit, delete."""

from contextlib import suppress
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, patch, post, put
from litestar.params import PathParameter, QueryParameter
from msgspec.structs import replace

from app.api.body import JSON, MERGE_PATCH, by_length, decode_body
from app.api.etag import require_match
from app.api.job_input import encrypt_job, masked_job, new_job
from app.api.optimistic_edit import TRIES, edit_job
from app.api.paging import job_before, job_cursor, listed
from app.api.parameters import Clock, Cursor, Db, IfMatch, Keys, Limit, Reference
from app.api.problems import ApiRequest
from app.api.responses import ETAG, LOCATION, JobPage, answer
from app.core.access.api_key import Scope
from app.core.jobs.job import (
    Job,
    JobDocument,
    JobPatch,
    JobReplacement,
    JobState,
    PlannedJob,
    document_of,
    name_error,
)
from app.core.jobs.patch import patched
from app.db import Database, jobs
from app.db.jobs import JobFilter
from app.errors import EditConflict, FieldError, InvalidInput, JobNotFound, NameTaken, StateConflict
from app.vault import SecretKeys, check_bindings, referring

Name = Annotated[str, PathParameter(description="The name of the job, there already or not.")]
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
async def create_job(request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys) -> Response[Job]:
    """Give exactly one of `run_at`, `cron` (with `timezone`) and `every_seconds`."""
    document = await decode_body(request, JobDocument)
    job = await by_length(request, partial(new_job, now=await clock.now()), document)
    return await insert_job(job, db, secret_keys)


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
) -> Response[Job]:
    """Say the same again, and nothing changes: neither its plan nor its ETag.

    What is left out goes back to its default, except that a paused job stays paused. `***` keeps
    the secret that is stored. A job as it was answered may be sent back as a whole.
    """
    if error := name_error(job):
        raise InvalidInput(FieldError(field="name", message=error))
    given = await decode_body(request, JobReplacement)
    document = document_of(given)
    if document.name not in (None, job):
        message = f"is not the name in the address, {job!r}: leave it out, or rename with PATCH"
        raise InvalidInput(FieldError(field="name", message=message))
    document = replace(document, name=job)
    for _ in range(TRIES):
        with suppress(JobNotFound):
            edit = await edit_job(
                db, clock, secret_keys, job, lambda _: document, if_match=if_match
            )
            return answer(edit.job, warnings=edit.warnings)
        if if_match is not None:
            message = f"no job has the name {job!r}, so If-Match cannot name its version"
            raise EditConflict(message)
        with suppress(NameTaken):  # somebody created it meanwhile: replace that one
            new = await by_length(request, partial(new_job, now=await clock.now()), document)
            return await insert_job(new, db, secret_keys)
    message = f"the job {job!r} is being created and deleted by others all the time: try again"
    raise StateConflict(message)


@get(
    "/",
    operation_id="listJobs",
    summary="List jobs, newest first",
    opt={"scope": Scope.READ, "problems": (422,)},
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
) -> JobPage:
    """Jobs created while you page through do not move the pages: they come before the first."""
    wanted = JobFilter(tags=listed(tags), kind=kind, state=stands, name_prefix=name, text=q)
    page = await jobs.list_page(db, wanted, before=job_before(cursor), limit=limit)
    return JobPage(
        items=[masked_job(job) for job in page],
        next_cursor=job_cursor(page.items[-1].id) if page.more else None,
    )


@get(
    "/{job:str}",
    operation_id="getJob",
    summary="Read a job",
    response_headers=[ETAG],
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_job(db: Db, job: Reference) -> Response[Job]:
    """Secrets in its target read `***`."""
    return answer(await jobs.find(db, job))


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
    opt={"scope": Scope.WRITE, "problems": (404, 412)},
)
async def delete_job(db: Db, job: Reference, if_match: IfMatch = None) -> None:
    """Its executions stay on record; one under way goes on to its end.

    Runs that were asked for and have not started are recorded as `missed`, reason `deleted`.
    """
    unchanged_since = None
    if if_match is not None:
        stored = await jobs.find(db, job)
        require_match(if_match, stored)
        unchanged_since = None if if_match.strip() == "*" else stored.updated_at
    if not await jobs.delete(db, job, unchanged_since=unchanged_since):
        stored = await jobs.find(db, job)
        message = f"the job {stored.id} was edited meanwhile: get it again and decide on that"
        raise EditConflict(message)


async def insert_job(job: PlannedJob, db: Database, secret_keys: SecretKeys) -> Response[Job]:
    """Insert one job and show it."""
    warnings = await check_bindings(db, [referring(job.kind, job.target)])
    [stored] = await jobs.insert(db, [encrypt_job(job, secret_keys)])
    return answer(stored, status=201, warnings=warnings.get(0, ()))
