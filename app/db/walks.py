"""Walks over all jobs, with pauses so as not to delay executions, and moves wrong plans.

A walk reads a range of ids at a time. The queries (`clock_steps.sql`, `zones.sql`) decide which
jobs of the range are returned, and which columns must be unchanged when a plan is moved.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Generic, Self, TypeVar
from uuid import UUID

from msgspec import Struct, json

from app.core.jobs.identity import NIL
from app.core.schedule.spread import PlannedRun
from app.db.database import Row, Runner

STEP_JOBS = 2000
"""How many jobs one step reads."""
STEP_REST_SECONDS = 0.05
"""The pause between two steps."""
LOCK_PAUSE_SECONDS = 0.5
"""The pause before plans whose rows were locked are written again. Most transactions, those of the
instances among them, are over by then."""

PlanT = TypeVar("PlanT")
MoveT = TypeVar("MoveT")


class Move(Struct, frozen=True, kw_only=True):
    """The change of one job's plan, and what it was before."""

    job_id: UUID
    next_run: datetime
    scheduled_for: datetime | None
    moved_to: datetime
    moved_for: datetime | None
    """The nominal instant of the new plan."""

    @classmethod
    def between(cls, job_id: UUID, run: PlannedRun, moved_to: PlannedRun) -> Self:
        """Return the move of one planned run to another."""
        return cls(
            job_id=job_id,
            next_run=run.next_run,
            scheduled_for=run.scheduled_for,
            moved_to=moved_to.next_run,
            moved_for=moved_to.scheduled_for,
        )


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


async def walk(
    read: Callable[[UUID, int], Awaitable[Step[PlanT] | None]],
    move_of: Callable[[PlanT, datetime], MoveT | None],
    write: Callable[[Sequence[MoveT]], Awaitable[int]],
) -> AsyncIterator[tuple[int, int]]:
    """Walk over all jobs; after each step, yield how many plans had to move and how many did.

    `read` reads the next jobs, given the last id and how many. `move_of`, called in a thread,
    returns how a plan has to move, given the present instant, or None. `write` writes the moves
    and returns how many took effect: a job that was edited meanwhile, or that a transaction has
    locked, is left alone. Moves that took no effect are written once more, after a pause.
    """
    step = await read(NIL, STEP_JOBS)
    while step is not None:
        moves: list[MoveT] = await asyncio.to_thread(partial(find_moves, step, move_of))
        written = await write(moves) if moves else 0
        if written < len(moves):
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
            written += await write(moves)  # what was moved is not found again
        yield len(moves), written
        await asyncio.sleep(STEP_REST_SECONDS)
        step = await read(step.last_id, STEP_JOBS)


def find_moves(
    step: Step[PlanT], move_of: Callable[[PlanT, datetime], MoveT | None]
) -> list[MoveT]:
    """Work out which plans of a step have to move."""
    found = []
    for plan in step.plans:
        with suppress(Exception):  # a row that cannot be planned says so when it runs
            if (move := move_of(plan, step.now)) is not None:
                found.append(move)
    return found
