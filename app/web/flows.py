"""The page of flows: their limits, and how much of them is used."""

from litestar import Response, get
from litestar.params import FromQuery

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import flow_limits
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.wire.pages import FLOWS


@get("/flows", opt={"scope": Scope.READ})
async def flows_page(
    request: ApiRequest, reader: Reader, clock: Clock, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """List the flows that have limits or are held, by key."""
    found = await flow_limits.list_page(reader, after=FLOWS.read(cursor), limit=ON_A_PAGE)
    return page(
        request,
        "flows.html",
        listed=found.items,
        following=FLOWS.after(found.items, more=found.more),
        cursor=cursor,
        at=await clock.now(),
    )
