"""Walks over all jobs in the order of their ids, and moves plans that are found wrong.

A walk reads a range of ids at a time. The queries (`steps.sql`, `zones.sql`) decide which jobs of
the range are returned, and which columns must be unchanged when a plan is moved.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct, json

from app.db.database import Row, Runner

PlanT = TypeVar("PlanT")


class Step(Struct, Generic[PlanT], frozen=True, kw_only=True):
    """A range of jobs by id: the last id, and the plans to look at."""

    last_id: UUID
    now: datetime
    plans: list[PlanT]


async def read_step(
    db: Runner, query: str, plan: Callable[[Row], PlanT], after: UUID, many: int
) -> Step[PlanT] | None:
    """Read the next `many` jobs in the order of their ids; None after the last job."""
    rows = await db.fetch(query, after=after, many=many)
    if not rows:
        return None
    return Step(
        last_id=rows[0]["last_id"],
        now=rows[0]["now"],
        plans=[plan(row) for row in rows if row["id"] is not None],
    )


async def move(db: Runner, query: str, moves: Sequence[Struct]) -> int:
    """Write the plans of jobs that are unchanged since they were read; return how many."""
    return len(await db.fetch(query, moves=json.encode(moves).decode()))
