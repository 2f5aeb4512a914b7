"""What a database holds at a moment, for metrics."""

from msgspec import Struct

from app.db.database import Database


class Levels(Struct, frozen=True, kw_only=True):
    """Counts that only the metrics tell; see `instances.read_stats` for all others."""

    notify_queue_ratio: float
    """The part of the server's queue of notifications that is in use, from 0 to 1."""
    failing_jobs: int
    """Jobs whose last runs failed; the count stops at 10,000."""
    instances: int
    """Instances that are connected."""
    oldest_partition_seconds: float | None
    """The age of the oldest day of executions; None without any."""


async def read_lateness(db: Database) -> float:
    """Return for how many seconds the job has been due that waits longest; 0 or less for none."""
    [row] = await db.fetch("levels.lateness")
    return float(row["seconds"])


async def read_levels(db: Database, *, most: int) -> Levels:
    """Read the levels; counts stop at `most`."""
    [row] = await db.fetch_filtered("levels.levels", most=most)
    return Levels(**row)
