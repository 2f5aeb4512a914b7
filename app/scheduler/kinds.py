"""Records the kinds that this instance has executors for, hourly.

Jobs of all other kinds are shown as invalid, and the audit log knows what it may keep of targets.
"""

from collections.abc import Mapping

from app.db import Database, kinds
from app.scheduler.tasks import INTERVAL_SECONDS, rest
from app.targets.base import Shown
from app.telemetry import Observers
from app.telemetry.faults import faulted


async def keep_kinds(
    db: Database, observers: Observers, shown: Mapping[str, Mapping[str, Shown]]
) -> None:
    """Record the kinds at once, and then about every hour, until cancelled."""
    while True:
        try:
            await kinds.record_kinds(db, shown)
        except Exception as error:  # noqa: BLE001 - jobs run without this, and seem invalid
            observers.tell(faulted("kinds", error))
        await rest(INTERVAL_SECONDS)
