"""The instances that are connected, and counts of jobs and executions."""

import msgspec

from app.core.runs.outcome import Outcome
from app.db.database import Database, Runner
from app.wire.instances import Instance, Stats

MAX_COUNTED = 10_000
"""Counts stop here, so that counting stays cheap in large tables."""


async def list_instances(db: Runner) -> list[Instance]:
    """List the instances that are connected or hold leases."""
    return [Instance(**row) for row in await db.fetch("instances.instances")]


async def list_kinds_alive(db: Runner) -> list[str]:
    """List the kinds that the instances which are connected carry out."""
    [row] = await db.fetch("instances.kinds_alive")
    kinds: list[str] = row["kinds"]
    return kinds


async def read_stats(db: Database, *, newest: int = MAX_COUNTED) -> Stats:
    """Count the jobs by state, and the `newest` executions by outcome."""
    [row] = await db.fetch_filtered("instances.stats", most=MAX_COUNTED, newest=newest)
    outcomes = msgspec.json.decode(row["outcomes"], type=dict[Outcome, int])
    return Stats(**{**row, "outcomes": outcomes})
