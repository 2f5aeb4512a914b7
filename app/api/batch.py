"""Many jobs at once: all or none."""

import asyncio
from collections.abc import Sequence

from litestar import post

from app.api.body import JSON, LINES, receive
from app.api.parameters import Clock, Db, Keys
from app.api.problems import ApiRequest
from app.api.traced import made_by, traceparent_of
from app.core.access.api_key import Scope
from app.jobs.create import Written, create_batch
from app.jobs.shown import masked_job
from app.wire.batch import documents, documents_of_lines
from app.wire.jobs import JobBatch, JobList

MAX_BYTES = 16 * 1024 * 1024
"""The largest body of a batch, in bytes: 10,000 jobs of 1.6 kB."""


@post(
    "/batch",
    operation_id="createJobs",
    summary="Create up to 10,000 jobs, all or none",
    request_max_body_size=MAX_BYTES,
    opt={"scope": Scope.WRITE, "body": JobBatch, "problems": (400, 409, 413, 415, 422)},
)
async def create_jobs(request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys) -> JobList:
    """All jobs are created in one transaction. Errors name the job by its index: `[3].target.url`.

    A bare array of jobs is accepted as well, and `application/x-ndjson`: a job in each line.
    """
    body = await receive(request, (JSON, LINES))
    read = documents_of_lines if request.content_type[0].lower() == LINES else documents
    given = await asyncio.to_thread(read, body)
    if traceparent := traceparent_of(request):
        given = [made_by(one, traceparent) for one in given]
    written = await create_batch(db, given, secret_keys, now=await clock.now())
    return await asyncio.to_thread(shown_list, written)


def shown_list(written: Sequence[Written]) -> JobList:
    return JobList(items=[masked_job(one.job, one.warnings) for one in written])
