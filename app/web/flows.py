"""The page of flows: their limits, and how much of them is used."""

from collections.abc import Sequence

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import FromQuery

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import flow_limits
from app.db.database import Database
from app.web.live_tables import Table
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.wire.flows import Flow
from app.wire.pages import FLOWS


async def read_first(reader: Database) -> Sequence[Flow]:
    """List what the first page shows."""
    return (await flow_limits.list_page(reader, after=None, limit=ON_A_PAGE)).items


TABLE = Table(
    address="/flows",
    read=read_first,
    key=lambda one: one.flow_key,
    template="flow_cells.html",
    columns=("what", "executing", "rate", "waiting", "state"),
    told_in="state",
    seconds=2,
)


@get("/flows", opt={"scope": Scope.READ})
async def flows_page(
    request: ApiRequest,
    state: State,
    reader: Reader,
    clock: Clock,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List the flows that have limits or are held, by key."""
    found = await flow_limits.list_page(reader, after=FLOWS.read(cursor), limit=ON_A_PAGE)
    rows, stream = state.tables.shown("flows", found.items, await clock.now())
    return page(
        request,
        "flows.html",
        rows=rows.values(),
        stream=stream,
        following=FLOWS.after(found.items, more=found.more),
        cursor=cursor,
    )
