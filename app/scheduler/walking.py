"""Walks over all jobs to correct plans, in steps with pauses, so as not to delay executions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from app.db.walks import Step

STEP_JOBS = 2000
"""How many jobs one step reads."""
STEP_REST_SECONDS = 0.05
"""The pause between two steps."""

PlanT = TypeVar("PlanT")
MoveT = TypeVar("MoveT")


async def walk(
    read: Callable[[UUID, int], Awaitable[Step[PlanT] | None]],
    move_of: Callable[[PlanT, datetime], MoveT | None],
    write: Callable[[Sequence[MoveT]], Awaitable[int]],
) -> AsyncIterator[tuple[int, int]]:
    """Walk over all jobs; after each step, yield how many plans had to move and how many did.

    `read` reads the next jobs, given the last id and how many. `move_of`, called in a thread,
    returns how a plan has to move, given the present instant, or None. `write` writes the moves
    and returns how many took effect: a job that was edited meanwhile is left alone.
    """
    step = await read(UUID(int=0), STEP_JOBS)
    while step is not None:
        moves: list[MoveT] = await asyncio.to_thread(partial(find_moves, step, move_of))
        yield len(moves), await write(moves) if moves else 0
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
