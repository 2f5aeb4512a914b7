"""Makes partitions of executions ahead of time and drops old ones."""

import asyncio
import random

from app.core.facts import Faulted, Pruned
from app.db import Database, upkeep
from app.errors import DatabaseUnavailable
from app.telemetry import Observers

INTERVAL_SECONDS = 3600.0
RETRY_SECONDS = 60.0


async def keep_up(db: Database, observers: Observers, *, retention_days: float) -> None:
    """Do the upkeep at once and then about every hour, until cancelled.

    Every instance does so; the statements wait for each other and find nothing left to do.
    """
    while True:
        wait = INTERVAL_SECONDS
        try:
            added = await upkeep.add_partitions(db)
            dropped, deleted = await upkeep.prune(db, retention_days=retention_days)
        except DatabaseUnavailable as error:
            observers.tell(Faulted(where="upkeep", error=str(error)))
            wait = RETRY_SECONDS
        else:
            if added or dropped or deleted:
                observers.tell(
                    Pruned(partitions_added=added, partitions_dropped=dropped, jobs_deleted=deleted)
                )
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - keeps instances apart
