"""Many jobs at once: all or none."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from litestar import Response, post
from litestar.params import QueryParameter

from app.api.body import JSON, LINES, receive
from app.api.lines import Listed
from app.api.parameters import Clock, Db, Keys
from app.api.problems import ApiRequest
from app.api.traced import made_by, traceparent_of
from app.core.access.api_key import Scope
from app.jobs.create import Written, create_batch
from app.jobs.replace import replace_batch
from app.jobs.shown import masked_job
from app.wire.batch import documents, documents_of_lines, replacements, replacements_of_lines
from app.wire.jobs import JobBatch, JobList

Replaces = Annotated[
    bool,
    QueryParameter(
        description="Replace the jobs of these names, as PUT does, where there are any."
    ),
]
MAX_BYTES = 16 * 1024 * 1024
"""The largest body of a batch, in bytes: 10,000 jobs of 1.6 kB."""


@post(
    "/batch",
    operation_id="createJobs",
    summary="Create up to 10,000 jobs, or replace them by their names, all or none",
    request_max_body_size=MAX_BYTES,
    opt={
        "scope": Scope.WRITE,
        "body": JobBatch,
        "also": (200,),
        "problems": (400, 409, 412, 413, 415, 422),
    },
)
async def create_jobs(
    *, request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys, replace: Replaces = False
) -> Response[JobList]:
    """All jobs are written in one transaction. Errors name the job by its index: `[3].target.url`.

    With `replace=true` (200) each has a name and may be as it was answered, and `effect` says what
    became of it. A job that is sent again as it is keeps its plan and its version.

    A bare array of jobs is accepted as well, and `application/x-ndjson`: a job in each line.
    """
    body = await receive(request, (JSON, LINES))
    in_lines = request.content_type[0].lower() == LINES
    if replace:
        read = replacements_of_lines if in_lines else replacements
        named = await asyncio.to_thread(read, body)
        written = await replace_batch(db, clock, secret_keys, named)
        shown = await asyncio.to_thread(shown_list, written, with_effect=True)
        return Listed(shown, status_code=200)
    given = await asyncio.to_thread(documents_of_lines if in_lines else documents, body)
    if traceparent := traceparent_of(request):
        given = [made_by(one, traceparent) for one in given]
    written = await create_batch(db, given, secret_keys, now=await clock.now())
    return Listed(await asyncio.to_thread(shown_list, written), status_code=201)


def shown_list(written: Sequence[Written], *, with_effect: bool = False) -> JobList:
    return JobList(
        items=[
            masked_job(one.job, one.warnings, effect=one.effect if with_effect else None)
            for one in written
        ]
    )
