"""What is done with a job as it is: pause, resume, run now."""

from litestar import Response, post
from msgspec.structs import replace

from app.api.job_input import told_error
from app.api.optimistic_edit import edit_job
from app.api.parameters import Clock, Db, Keys, Reference
from app.api.responses import ETAG, answer
from app.core.access.api_key import Scope
from app.core.jobs.job import Job, StoredJob, document_of
from app.db import Database, jobs
from app.db.clock import PolledClock
from app.errors import JobNotFound, StateConflict
from app.vault import SecretKeys


@post(
    "/{job:str}/pause",
    operation_id="pauseJob",
    summary="Pause a job",
    status_code=200,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def pause_job(db: Db, clock: Clock, secret_keys: Keys, job: Reference) -> Response[Job]:
    """It keeps its plan but is not executed; an execution under way goes on. Idempotent."""
    return answer(await paused(db, clock, secret_keys, job, paused=True))


@post(
    "/{job:str}/resume",
    operation_id="resumeJob",
    summary="Resume a job",
    status_code=200,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def resume_job(db: Db, clock: Clock, secret_keys: Keys, job: Reference) -> Response[Job]:
    """What it missed meanwhile is treated as its `misfire` says. Idempotent."""
    return answer(await paused(db, clock, secret_keys, job, paused=False))


@post(
    "/{job:str}/run",
    operation_id="runJob",
    summary="Run a job now",
    status_code=202,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def run_job(db: Db, job: Reference) -> Response[Job]:
    """An extra run, due at once; its schedule goes on as before.

    A run that waits for its retry is retried at once instead. While a run is under way this one
    waits until that is over, with its retries.
    """
    return answer(await due_now(db, await jobs.find(db, job)), status=202)


async def paused(
    db: Database, clock: PolledClock, secret_keys: SecretKeys, reference: str, *, paused: bool
) -> StoredJob:
    """Pause or resume a job that is not paused or running already."""
    edit = await edit_job(
        db,
        clock,
        secret_keys,
        reference,
        lambda stored: replace(document_of(stored), paused=paused),
        if_match=None,
    )
    return edit.job


async def due_now(db: Database, job: StoredJob) -> StoredJob:
    """Make a job due now and return it as it then is.

    Raises:
        JobNotFound: it was deleted meanwhile.
        StateConflict: it is paused or invalid.
    """
    check_runnable(job)
    if not await jobs.run_now(db, job.id):
        message = f"the job {job.id} was deleted meanwhile"
        raise JobNotFound(message)
    return await jobs.find(db, str(job.id))


def check_runnable(job: StoredJob) -> None:
    """Refuse what would not run although it is due.

    Raises:
        StateConflict: it is paused or invalid.
    """
    if problem := told_error(job):
        message = f"the job cannot be executed until it is corrected: {problem}"
        raise StateConflict(message)
    if job.paused:
        message = "the job is paused: resume it first (POST /v1/jobs/{id or name}/resume)"
        raise StateConflict(message)
