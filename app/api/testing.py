"""Sends a target once, now, without an execution: that of a job, or of one that is to be."""

from litestar import post

from app.api.body import decode_action, decode_body, is_dry_run
from app.api.parameters import Clock, Db, Reference
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.jobs.testing import Testing
from app.wire.target_tests import JobTest, TargetTest, TestedTarget


@post(
    "/",
    operation_id="testTarget",
    summary="Send a target once, before any job has it",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": TargetTest,
        "takes_long": True,
        "problems": (400, 404, 413, 415, 422, 429),
    },
)
async def test_target(request: ApiRequest, db: Db, clock: Clock) -> TestedTarget:
    """There is no execution of it: only the audit log says who sent what.

    It is sent by this API process, with the settings that it has for what goes out.
    """
    asked = await decode_body(request, TargetTest)
    tester: Testing = request.app.state.testing
    owner = request.scope["user"].limited_as
    return await tester.test_target(db, clock, asked, owner=owner, is_dry=is_dry_run(request))


@post(
    "/{job:str}/test",
    operation_id="testJob",
    summary="Send the target of a job once, without an execution",
    status_code=200,
    opt={
        "scope": Scope.WRITE,
        "body": JobTest,
        "body_may_be_left_out": True,
        "takes_long": True,
        "problems": (400, 404, 409, 413, 415, 422, 429),
    },
)
async def test_job(request: ApiRequest, db: Db, clock: Clock, job: Reference) -> TestedTarget:
    """The job's plan, state and history stay as they are. A job that is paused is sent as well."""
    wanted = await decode_action(request, JobTest)
    tester: Testing = request.app.state.testing
    return await tester.test_job(
        db,
        clock,
        job,
        timeout_seconds=wanted.timeout_seconds,
        owner=request.scope["user"].limited_as,
        is_dry=is_dry_run(request),
    )
