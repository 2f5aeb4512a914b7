"""The tasks of an instance that no job waits for."""

import asyncio
from time import monotonic

from app.config import Settings
from app.db.clock import Believed
from app.scheduler.alerts import keep_alerting
from app.scheduler.bulk import keep_bulk
from app.scheduler.calendars import keep_calendars
from app.scheduler.checking import keep_checking
from app.scheduler.clock_steps import mend_steps
from app.scheduler.heartbeat import keep_beating
from app.scheduler.isolation import Isolation
from app.scheduler.kinds import keep_kinds
from app.scheduler.pools import Pools
from app.scheduler.resting import keep_resting_told
from app.scheduler.sweep import Sweep
from app.scheduler.tasks import run_endlessly
from app.scheduler.upkeep import keep_up
from app.scheduler.windows import Windows, keep_windows
from app.scheduler.zones import keep_zones
from app.targets.registry import KINDS, SHOWN
from app.vault import SecretKeys


async def keep_house(  # noqa: PLR0913 - the parts of an instance that these tasks need
    settings: Settings,
    pools: Pools,
    isolation: Isolation,
    sweep: Sweep,
    *,
    targets_written: asyncio.Event,
    set_back: asyncio.Event,
    bulk_told: asyncio.Event,
    alerts_told: asyncio.Event,
    windows: Windows,
    believed: Believed,
) -> None:
    """Run the tasks, each of which outlives its own errors, until cancelled."""
    db, observers, instance = pools.work, isolation.observers, isolation.instance
    keys = SecretKeys(settings.secret_keys)
    tasks = {
        "keep_up": keep_up(
            settings.required_database_url(),
            observers,
            instance=instance,
            retention_days=settings.retention_days,
            clock=monotonic,
            believed=believed,
        ),
        "keep_checking": keep_checking(
            isolation,
            keys,
            KINDS,
            targets_written,
            db=pools.plan,
        ),
        "keep_resting_told": keep_resting_told(db, isolation, sweep),
        "keep_kinds": keep_kinds(db, observers, SHOWN),
        "keep_bulk": keep_bulk(pools.bulk, observers, keys, bulk_told, instance=instance),
        "keep_alerting": keep_alerting(db, observers, alerts_told, believed=believed),
        "keep_windows": keep_windows(db, observers, windows),
        "keep_calendars": keep_calendars(db, observers, windows),
        "keep_zones": keep_zones(
            db, observers, instance=instance, slots=settings.concurrency, kinds=KINDS
        ),
        "mend_steps": mend_steps(db, observers, set_back, lease_seconds=settings.lease_seconds),
    }
    if settings.heartbeat_url is not None:
        tasks["keep_beating"] = keep_beating(
            db,
            observers,
            url=settings.heartbeat_url,
            seconds=settings.heartbeat_seconds,
            late_seconds=settings.heartbeat_late_seconds,
        )
    async with asyncio.TaskGroup() as group:
        for name, task in tasks.items():
            group.create_task(run_endlessly(name, task), name=name)
