"""The instances, and counts of jobs and executions."""

from litestar import get

from app.api.parameters import Db
from app.core.access.api_key import Scope
from app.db import instances
from app.wire.instances import InstanceList, Stats


@get(
    "/instances",
    operation_id="listInstances",
    summary="List the scheduler instances",
    opt={"scope": Scope.READ},
)
async def list_instances(db: Db) -> InstanceList:
    """Instances that are connected to the database, and others that still hold leases."""
    return InstanceList(items=await instances.list_instances(db))


@get(
    "/stats",
    operation_id="getStats",
    summary="Count jobs and recent executions",
    opt={"scope": Scope.READ},
)
async def get_stats(db: Db) -> Stats:
    """Counting is as cheap with ten million jobs as with ten."""
    return await instances.read_stats(db)
