"""The leases of one instance in Postgres: extend them, find and free those of no execution."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from app.core.runs.claim import Claim
from app.db.database import Runner


class Extended(Struct, frozen=True, kw_only=True):
    """The result of extending leases; a claim in neither set has its row locked by others."""

    extended: set[UUID]
    lost: set[UUID]
    """Rows that are under another claim, or deleted."""


class Orphan(Struct, frozen=True, kw_only=True):
    """A lease that this instance holds without an execution."""

    job_id: UUID
    execution_id: int


async def extend(db: Runner, held: Sequence[Claim], *, lease_seconds: float) -> Extended:
    """Extend the leases of these claims, at most one claim for each row."""
    rows = await db.fetch(
        "leases.extend",
        ids=[one.id for one in held],
        fences=[one.fence for one in held],
        claimed_ats=[one.claimed_at for one in held],
        lease_seconds=lease_seconds,
    )
    return Extended(
        extended={row["id"] for row in rows if row["extended"]},
        lost={row["id"] for row in rows if row["lost"]},
    )


async def list_orphans(  # noqa: PLR0913 - as many as the query has
    db: Runner,
    *,
    instance: str,
    executing: Sequence[int],
    lease_seconds: float,
    aside: Sequence[UUID] = (),
    only: Sequence[UUID] | None = None,
) -> list[Orphan]:
    """List the leases that this instance holds without `executing` them.

    The jobs in `aside` are left out; with `only`, all jobs but those.
    """
    rows = await db.fetch(
        "leases.orphans",
        instance=instance,
        executing=executing,
        lease_seconds=lease_seconds,
        aside=aside,
        only=only,
    )
    return [Orphan(**row) for row in rows]


async def free_orphans(db: Runner, orphans: Sequence[Orphan], *, instance: str) -> int:
    """Free these leases, if this instance still has them; return how many."""
    rows = await db.fetch(
        "leases.free_orphans",
        job_ids=[one.job_id for one in orphans],
        execution_ids=[one.execution_id for one in orphans],
        instance=instance,
    )
    return len(rows)
