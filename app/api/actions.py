"""Actions on a job: pause, resume, run now."""

from litestar import Response, post

from app.api.parameters import Clock, Db, Keys, Reference
from app.api.responses import ETAG, answer
from app.core.access.api_key import Scope
from app.core.jobs.job import Job
from app.jobs import actions


@post(
    "/{job:str}/pause",
    operation_id="pauseJob",
    summary="Pause a job",
    status_code=200,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def pause_job(db: Db, clock: Clock, secret_keys: Keys, job: Reference) -> Response[Job]:
    """The job keeps its plan but is not executed; an execution under way goes on. Idempotent."""
    return answer(await actions.set_paused(db, clock, secret_keys, job, paused=True))


@post(
    "/{job:str}/resume",
    operation_id="resumeJob",
    summary="Resume a job",
    status_code=200,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def resume_job(db: Db, clock: Clock, secret_keys: Keys, job: Reference) -> Response[Job]:
    """Runs that the job missed meanwhile are treated as its `misfire` says. Idempotent."""
    return answer(await actions.set_paused(db, clock, secret_keys, job, paused=False))


@post(
    "/{job:str}/run",
    operation_id="runJob",
    summary="Run a job now",
    status_code=202,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def run_job(db: Db, job: Reference) -> Response[Job]:
    """An extra run of the job is due at once; the schedule goes on as before.

    A run that waits for its retry is retried at once instead. While a run is under way this one
    waits until that is over, with its retries.
    """
    return answer(await actions.run_now(db, job), status=202)
