"""Probes for the supervisor of the process."""

from litestar import get

from app.api.parameters import Db
from app.db import migrate
from app.wire.health import Health


@get(
    "/health/live",
    operation_id="getLiveness",
    summary="Does the process answer?",
    tags=["Health"],
)
async def live() -> Health:
    """Whether or not the database does."""
    return Health()


@get(
    "/health/ready",
    operation_id="getReadiness",
    summary="Can requests be served?",
    tags=["Health"],
    opt={"problems": (503,)},
)
async def ready(db: Db) -> Health:
    """The database answers and its schema is the one that this version needs."""
    await migrate.check(db)
    return Health()
