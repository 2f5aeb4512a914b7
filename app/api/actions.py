"""Actions on a job: pause, resume, skip, run now."""

from litestar import Response, post

from app.api.body import decode_action, decode_body
from app.api.parameters import Clock, Db, Reference
from app.api.problems import ApiRequest
from app.api.responses import ETAG, answer
from app.core.access.api_key import Scope
from app.core.jobs.job import Job
from app.jobs import actions, pauses
from app.wire.actions import Asked, NoFields, Skip
from app.wire.pauses import JobPause, Resumption


@post(
    "/{job:str}/pause",
    operation_id="pauseJob",
    summary="Pause a job",
    status_code=200,
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": JobPause,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def pause_job(request: ApiRequest, db: Db, clock: Clock, job: Reference) -> Response[Job]:
    """The job keeps its plan but is not executed; an execution under way goes on. Idempotent.

    With `until` it is resumed by itself then.
    """
    wanted = await decode_action(request, JobPause)
    return answer(await pauses.pause_job(db, clock, job, wanted))


@post(
    "/{job:str}/resume",
    operation_id="resumeJob",
    summary="Resume a job, or count what it missed",
    status_code=200,
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": Resumption,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def resume_job(request: ApiRequest, db: Db, clock: Clock, job: Reference) -> Response[Job]:
    """`missed` says what becomes of the runs that the job missed, else its `misfire`. Idempotent.

    How many there are is answered in `missed`; with `dry_run` nothing else is done.
    """
    wanted = await decode_action(request, Resumption)
    stored, missed = await pauses.resume_job(db, clock, job, wanted)
    return answer(stored, missed=missed)


@post(
    "/{job:str}/run",
    operation_id="runJob",
    summary="Run a job now",
    status_code=202,
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": Asked,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def run_job(request: ApiRequest, db: Db, job: Reference) -> Response[Job]:
    """An extra run of the job is due at once; the schedule goes on as before.

    A run that waits for its retry is retried at once instead. While a run is under way this one
    waits until that is over, with its retries, unless `overlap` says otherwise.
    """
    wanted = await decode_action(request, Asked)
    return answer(await actions.run_now(db, job, overlap=wanted.overlap), status=202)


@post(
    "/{job:str}/skip",
    operation_id="skipRuns",
    summary="Skip runs of a job",
    status_code=200,
    response_headers=[ETAG],
    opt={"scope": Scope.WRITE, "body": Skip, "problems": (400, 404, 409, 413, 415, 422)},
)
async def skip_runs(request: ApiRequest, db: Db, clock: Clock, job: Reference) -> Response[Job]:
    """The next `runs` runs, or all before `until`, in place of what was to be skipped before.

    Each is recorded as missed, reason `skipped`, when its time comes. The plan stays as it is, a
    run that has begun goes on with its retries, and runs that are asked for are carried out.
    """
    wanted = await decode_body(request, Skip)
    return answer(await actions.skip(db, job, wanted, now=await clock.now()))


@post(
    "/{job:str}/unskip",
    operation_id="unskipRuns",
    summary="Skip no runs of a job any more",
    status_code=200,
    response_headers=[ETAG],
    opt={
        "scope": Scope.WRITE,
        "body": NoFields,
        "body_may_be_left_out": True,
        "problems": (400, 404, 409, 413, 415, 422),
    },
)
async def unskip_runs(request: ApiRequest, db: Db, job: Reference) -> Response[Job]:
    """Skipped runs whose time has passed stay skipped. Idempotent."""
    await decode_action(request, NoFields)
    return answer(await actions.unskip(db, job))
