"""Time zone rules: who goes by which, and the replanning of jobs by newer ones."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, json

from app.core.schedule.replan import Planned
from app.core.schedule.zone_rules import Rules, from_archive
from app.core.zone_health import UsedRules
from app.db.claims import schedule
from app.db.database import Runner


class Standing(Struct, frozen=True, kw_only=True):
    """How the rules of an instance stand among those that the database has seen."""

    newest: str | None
    unwalked: bool
    """Plans by older rules may be left, if these are the newest."""


class Step(Struct, frozen=True, kw_only=True):
    """A part of all jobs."""

    last_id: UUID
    now: datetime
    plans: list[Planned]


class Move(Struct, frozen=True, kw_only=True):
    """A plan that newer rules put elsewhere."""

    job_id: UUID
    next_run: datetime
    moved_to: datetime


async def tell(db: Runner, *, instance: str, rules: Rules) -> Standing:
    """Say what an instance goes by."""
    [row] = await db.fetch(
        "zones.tell", instance=instance, version=rules.version, source=rules.source
    )
    return Standing(**row)


async def note(db: Runner, version: str, archive: bytes) -> None:
    """Keep rules for a comparison with later ones."""
    await db.fetch("zones.note", version=version, zones=archive)


async def begin_walk(db: Runner, version: str) -> tuple[bool, Rules | None]:
    """Tell whether this instance may walk, and return the rules of before where there are any."""
    rows = await db.fetch("zones.begin_walk", version=version)
    if not rows or rows[0]["zones"] is None:
        return bool(rows), None
    return True, from_archive(rows[0]["version"], rows[0]["zones"])


async def go_on(db: Runner, version: str) -> None:
    """Say that the walk goes on."""
    await db.fetch("zones.go_on", version=version)


async def end_walk(db: Runner, version: str, *, complete: bool) -> None:
    """End the walk; unless it was complete there has to be another."""
    await db.fetch("zones.end_walk", version=version, complete=complete)


async def step(db: Runner, *, after: UUID, many: int) -> Step | None:
    """Read the next jobs in the order of their ids; None: there are no more."""
    rows = await db.fetch("zones.step", after=after, many=many)
    if not rows:
        return None
    return Step(
        last_id=rows[0]["last_id"],
        now=rows[0]["now"],
        plans=[
            Planned(job_id=row["id"], schedule=schedule(row), next_run=row["next_run"])
            for row in rows
            if row["id"] is not None
        ],
    )


async def move(db: Runner, moves: Sequence[Move]) -> int:
    """Write new plans where nothing has changed since; return how many."""
    return len(await db.fetch("zones.move", moves=json.encode(moves).decode()))


async def used(db: Runner) -> list[UsedRules]:
    """Return what the instances go by."""
    return [UsedRules(**row) for row in await db.fetch("zones.used")]


async def offsets(
    db: Runner, zones: Sequence[str], instants: Sequence[datetime]
) -> dict[tuple[str, datetime], float]:
    """Return the database's own offsets from UTC, in seconds, of the zones that it knows."""
    rows = await db.fetch("zones.offsets", zones=zones, instants=instants)
    return {(row["zone"], row["at"]): row["seconds"] for row in rows}
