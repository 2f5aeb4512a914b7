"""The page of alerts: what is told of and not over, the rules, and what was told to whom."""

from functools import partial

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import FromQuery

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import alert_rules, pages
from app.db.alert_rules import AlertFilter
from app.jobs.alerts import shown
from app.web.live_tables import Table
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.wire.pages import ALERTS

RULES = 100
"""Rules and channels that the page shows; there are rarely more than a handful."""


TABLE = Table(
    address="/alerts",
    read=partial(pages.list_firing, limit=ON_A_PAGE),
    key=lambda one: f"{one.event} {one.job_id} {one.rule}",
    template="firing_cells.html",
    columns=("what", "since"),
    told_in="since",
    seconds=2,
)


@get("/alerts", opt={"scope": Scope.READ})
async def alerts_page(
    request: ApiRequest,
    state: State,
    reader: Reader,
    clock: Clock,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Show what fires, by which rules, and what became of each message."""
    at = await clock.now()
    firing = await pages.list_firing(reader, limit=ON_A_PAGE + 1)
    rows, stream = state.tables.shown("alerts", firing[:ON_A_PAGE], at)
    told = await alert_rules.list_alerts(
        reader, AlertFilter(), before=ALERTS.read(cursor), limit=ON_A_PAGE
    )
    channels = await alert_rules.list_channels(reader, after=None, limit=RULES)
    return page(
        request,
        "alerts.html",
        rows=rows.values(),
        stream=stream,
        has_more=len(firing) > ON_A_PAGE,
        rules=await alert_rules.list_page(reader, after=None, limit=RULES),
        channels=[shown(one) for one in channels.items],
        told=told.items,
        following=ALERTS.after(told.items, more=told.more),
        cursor=cursor,
        at=at,
    )
