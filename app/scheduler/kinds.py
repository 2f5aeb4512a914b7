"""Says which kinds of jobs this instance can run, so that those that none can are seen."""

import asyncio
import random
from collections.abc import Sequence

from app.db import Database, kinds
from app.telemetry import Observers
from app.telemetry.faults import faulted

INTERVAL_SECONDS = 3600.0


async def keep_kinds(db: Database, observers: Observers, known: Sequence[str]) -> None:
    """Say at once, and then about every hour, which kinds are known here, until cancelled."""
    while True:
        try:
            await kinds.record_kinds(db, known)
        except Exception as error:  # noqa: BLE001 - jobs run without this, and seem invalid
            observers.tell(faulted("kinds", error))
        await asyncio.sleep(INTERVAL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spread
