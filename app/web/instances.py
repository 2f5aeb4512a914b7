"""The page of the instances."""

from litestar import Response, get
from litestar.datastructures import State
from msgspec import Struct

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.zone_health import UsedRules
from app.db import instances, zones
from app.db.database import Database
from app.errors import RightMissing
from app.web.live_tables import Table
from app.web.parameters import Reader
from app.web.rendering import page
from app.wire.instances import Instance


class Running(Struct, frozen=True, kw_only=True):
    """An instance, with what it said of itself."""

    instance: Instance
    rules: str | None
    """The time zone rules that it plans by; None: it has not said so lately."""
    slots: int | None
    product: str | None


async def list_rules(reader: Database) -> list[UsedRules]:
    """List what the instances said of themselves; nothing to a role that may not read that."""
    try:
        return await zones.list_used(reader)
    except RightMissing:
        return []


async def list_running(reader: Database) -> list[Running]:
    """List the instances by name, each with what it said of itself."""
    told = {one.name: one for one in await list_rules(reader)}
    return [
        Running(
            instance=one,
            rules=f"{of.version} ({of.source})" if of else None,
            slots=of.slots if of else None,
            product=of.product if of else None,
        )
        for one in await instances.list_instances(reader)
        for of in [told.get(one.name)]
    ]


TABLE = Table(
    address="/instances",
    read=list_running,
    key=lambda one: one.instance.name,
    template="instance_cells.html",
    columns=("what", "state", "slots", "version_of", "rules", "since"),
    told_in="state",
    seconds=2,
)


@get("/instances", opt={"scope": Scope.READ})
async def instances_page(
    request: ApiRequest, state: State, reader: Reader, clock: Clock
) -> Response[bytes]:
    """List the instances by name."""
    listed, tables = await list_running(reader), state.tables
    rows, stream = tables.shown("instances", listed, await clock.now())
    return page(
        request,
        "instances.html",
        rows=rows.values(),
        stream=stream,
        differ=len({one.rules for one in listed if one.rules and one.instance.connected}) > 1,
    )
