"""Time zone rules: which ones the instances plan by, and the replanning of jobs by newer ones.

The instance with the newest rules walks through all jobs, in steps (docs/adr/0050).
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.schedule.replan import Planned
from app.core.schedule.spread import PlannedRun
from app.core.schedule.zone_rules import Rules, from_archive
from app.core.zone_health import UsedRules
from app.db import walks
from app.db.database import Row, Runner
from app.db.schedules import schedule
from app.db.walks import Move, Step


class Standing(Struct, frozen=True, kw_only=True):
    """How an instance's rules compare with those of the other instances."""

    newest: str | None
    """The newest version that any instance has recorded."""
    unwalked: bool
    """Whether jobs may be left that are planned by older rules, if these are the newest."""


async def record_rules(  # noqa: PLR0913 - the columns of its row
    db: Runner,
    *,
    instance: str,
    rules: Rules,
    slots: int | None,
    product: str,
    kinds: Sequence[str],
) -> Standing:
    """Record what an instance is and the rules that it plans by, and compare these with others'.

    `kinds`: of the jobs that it runs.
    """
    [row] = await db.fetch(
        "zones.tell",
        instance=instance,
        version=rules.version,
        source=rules.source,
        slots=slots,
        product=product,
        kinds=sorted(kinds),
    )
    return Standing(**row)


async def store_zones(db: Runner, version: str, archive: bytes) -> None:
    """Store all zones of a version, for the comparison with a later version."""
    await db.fetch("zones.note", version=version, zones=archive)


async def begin_walk(db: Runner, version: str) -> tuple[bool, Rules | None]:
    """Return whether this instance may walk through the jobs, and the previous rules, if stored."""
    rows = await db.fetch("zones.begin_walk", version=version)
    if not rows or rows[0]["zones"] is None:
        return bool(rows), None
    return True, from_archive(rows[0]["version"], rows[0]["zones"])


async def continue_walk(db: Runner, version: str) -> None:
    """Record that the walk goes on, so that no other instance begins one."""
    await db.fetch("zones.go_on", version=version)


async def end_walk(db: Runner, version: str, *, complete: bool) -> None:
    """Record the end of the walk; if it was not complete, another walk is needed."""
    await db.fetch("zones.end_walk", version=version, complete=complete)


async def read_step(db: Runner, after: UUID, many: int) -> Step[Planned] | None:
    """Read the next `many` jobs, and the plans among them that follow a time zone."""
    return await walks.read_step(db, "zones.step", planned, after, many)


def planned(row: Row) -> Planned:
    run = PlannedRun(scheduled_for=row["scheduled_for"], next_run=row["next_run"])
    return Planned(job_id=row["id"], schedule=schedule(row), run=run)


async def move(db: Runner, moves: Sequence[Move]) -> int:
    """Move the runs of jobs that are unchanged since they were read; return how many."""
    return await walks.move(db, "zones.move", moves)


async def list_used(db: Runner) -> list[UsedRules]:
    """List the rules that the instances plan by."""
    return [UsedRules(**row) for row in await db.fetch("zones.used")]


async def read_offsets(
    db: Runner, zones: Sequence[str], instants: Sequence[datetime]
) -> dict[tuple[str, datetime], float]:
    """Return Postgres's own offsets from UTC, in seconds, of the zones that Postgres knows."""
    rows = await db.fetch("zones.offsets", zones=zones, instants=instants)
    return {(row["zone"], row["at"]): row["seconds"] for row in rows}
