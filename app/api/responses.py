"""Answers that show a job, and the headers of such answers."""

from collections.abc import Sequence

from litestar import Response
from litestar.datastructures import ResponseHeader

from app.core.jobs.beside import MissedRuns, Outlook
from app.core.jobs.job import Job, StoredJob
from app.errors import FieldError
from app.jobs.etag import etag
from app.jobs.shown import masked_job

ETAG = ResponseHeader(
    name="ETag",
    description="The version that people wrote; executions leave it as it is.",
    documentation_only=True,
)
LOCATION = ResponseHeader(
    name="Location", description="Where the new job is.", documentation_only=True
)


def answer(  # noqa: PLR0913 - what an answer may tell beside the job
    job: StoredJob,
    *,
    status: int = 200,
    warnings: Sequence[FieldError] = (),
    missed: MissedRuns | None = None,
    outlook: Outlook | None = None,
    set_name: str | None = None,
) -> Response[Job]:
    """Answer with a job and its ETag; a new job (201) also has its address in `Location`."""
    headers = {"ETag": etag(job.updated_at)}
    if status == 201:  # noqa: PLR2004 - Created
        headers["Location"] = f"/v1/jobs/{job.id}"
    shown = masked_job(job, warnings, missed=missed, outlook=outlook, set_name=set_name)
    return Response(shown, status_code=status, headers=headers)
