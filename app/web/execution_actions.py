"""What people do with an execution: have its run carried out again, or cut it off."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from app.api.parameters import Db
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import executions
from app.errors import ExecutionNotFound
from app.jobs import actions
from app.web.forms import read_form, see
from app.web.job_actions import address
from app.web.parameters import Reader
from app.web.rendering import page


@post("/executions/{id:int}/replay", status_code=303, opt={"scope": Scope.WRITE})
async def replay_run(db: Db, id: FromPath[int]) -> Redirect:
    """Make the run of a past execution due again."""
    return see(address(await actions.replay(db, id), "replayed"))


@get("/executions/{id:int}/cancel", opt={"scope": Scope.WRITE})
async def cancel_page(
    request: ApiRequest, reader: Reader, id: FromPath[int]
) -> Response[bytes] | Redirect:
    """Ask what is to become of the run of an execution that is to be cut off."""
    if not await executions.is_under_way(reader, id):
        try:
            await executions.find(reader, id)
        except ExecutionNotFound:
            pass  # it may be recorded within the second: the button says so then
        else:
            return see(f"/executions/{id}")
    return page(request, "cancel.html", id=id)


@post("/executions/{id:int}/cancel", status_code=303, opt={"scope": Scope.WRITE})
async def cancel_execution(request: ApiRequest, db: Db, id: FromPath[int]) -> Redirect:
    """Cut an execution off."""
    form = await read_form(request)
    past = await actions.cancel(db, id, retry=form["then"] == "retry")
    return see(f"/executions/{past.id}?done=cancelled")
