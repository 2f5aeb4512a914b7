"""Checks: their addresses, and how they stand. Their pings come in at `app.api.pings`."""

from litestar import delete, get, post

from app.api.body import decode_action
from app.api.parameters import Db, Reference
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import checks
from app.wire.actions import NoFields
from app.wire.checks import Check, CheckAddress


@get(
    "/{job:str}",
    operation_id="getCheck",
    summary="Read how a check stands",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_check(db: Db, job: Reference) -> Check:
    """A check is a job of the kind `check`; its pings are its executions."""
    return await checks.find(db, job)


@post(
    "/{job:str}/token",
    operation_id="makeCheckToken",
    summary="Make the address for the pings of a check",
    opt={
        "scope": Scope.WRITE,
        "body": NoFields,
        "body_may_be_left_out": True,
        "problems": (400, 404, 413, 415, 422),
        "secret_answer": True,
    },
)
async def make_token(request: ApiRequest, db: Db, job: Reference) -> CheckAddress:
    """It is shown this once, as only a digest is kept. An earlier address leads nowhere then."""
    await decode_action(request, NoFields)
    token = await checks.make_token(db, job)
    return CheckAddress(token=token, path=f"/ping/{token}")


@delete(
    "/{job:str}/token",
    operation_id="revokeCheckToken",
    summary="Have the address of a check lead nowhere",
    opt={"scope": Scope.WRITE, "problems": (404,)},
)
async def revoke_token(db: Db, job: Reference) -> None:
    """The check goes on, so its next ping will be missed unless it gets another address."""
    await checks.revoke_token(db, job)
