"""What a database holds at a moment, for metrics."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.db.database import Database


class Levels(Struct, frozen=True, kw_only=True):
    """Counts that only the metrics tell; see `instances.read_stats` for all others."""

    notify_queue_ratio: float
    """The part of the server's queue of notifications that is in use, from 0 to 1."""
    failing_jobs: int
    """Jobs whose last runs failed; the count stops at 10,000."""
    repeatedly_failing_jobs: int
    """Of these, those whose last three runs or more failed."""
    instances: int
    """Instances that are connected."""
    polling_seconds: float
    """For how long instances have promised to look without being notified; 0: they have not."""
    asking_jobs: int
    """Jobs that ask for metrics of their own; the count stops at 10,000."""
    oldest_partition_seconds: float | None
    """The age of the oldest day of executions; None without any."""


class AskingJob(Struct, frozen=True, kw_only=True):
    """A job that asks for metrics of its own."""

    id: UUID
    name: str | None
    kind: str
    consecutive_failures: int
    next_run: datetime | None
    succeeded_at: datetime
    """When it last succeeded, or had certainly not since; of one that never did, when it was
    created."""


class FlowLevel(Struct, frozen=True, kw_only=True):
    """How one flow stands."""

    flow_key: str
    active: int
    """Its executions under way."""
    waiting: int
    """Its jobs that are due."""
    held_seconds: float
    """For how much longer a target asked it to wait."""


async def read_lateness(db: Database) -> float:
    """Return for how many seconds the job waits that has waited longest to start or be planned.

    0 or less: none waits.
    """
    [row] = await db.fetch("levels.lateness")
    return float(row["seconds"])


async def read_levels(db: Database, *, most: int) -> Levels:
    """Read the levels; counts stop at `most`."""
    [row] = await db.fetch_filtered("levels.levels", most=most)
    return Levels(**row)


async def read_asking_jobs(db: Database, *, most: int) -> list[AskingJob]:
    """Read the jobs that ask for metrics of their own, the oldest `most` of them."""
    return [AskingJob(**row) for row in await db.fetch("levels.asking_jobs", most=most)]


async def read_flows(db: Database, *, flows: int, most: int) -> list[FlowLevel]:
    """Read how the first `flows` flows with a key of their own stand; counts stop at `most`."""
    return [FlowLevel(**row) for row in await db.fetch("levels.flows", flows=flows, most=most)]
