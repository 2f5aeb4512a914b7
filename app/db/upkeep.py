"""What keeps the database in shape."""

from collections.abc import Sequence

from app.db.database import Runner


async def add_partitions(db: Runner) -> int:
    """Make sure that executions of the coming week have partitions; return how many were added."""
    [row] = await db.fetch("upkeep.add_partitions")
    return int(row["partitions"])


async def prune(db: Runner, *, retention_days: float) -> tuple[int, int]:
    """Drop what ended longer ago: partitions of executions, finished one-off jobs."""
    [row] = await db.fetch("upkeep.prune", retention_days=retention_days)
    return int(row["partitions"]), int(row["jobs"])


async def release_orphans(
    db: Runner, *, instance: str, executing: Sequence[int], lease_seconds: float
) -> int:
    """Free the leases in this instance's name that it does not know of; return how many."""
    rows = await db.fetch(
        "upkeep.release_orphans",
        instance=instance,
        executing=executing,
        lease_seconds=lease_seconds,
    )
    return len(rows)
