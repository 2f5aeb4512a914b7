"""Walks over all jobs, slowly enough for executions not to notice, and moves plans."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from app.db.walks import Step

STEP_JOBS = 2000
"""Jobs that are read at a time."""
STEP_REST_SECONDS = 0.05
"""The pause between two steps."""

PlanT = TypeVar("PlanT")
MoveT = TypeVar("MoveT")


async def walk(
    read: Callable[[UUID, int], Awaitable[Step[PlanT] | None]],
    move_of: Callable[[PlanT, datetime], MoveT | None],
    write: Callable[[Sequence[MoveT]], Awaitable[int]],
) -> AsyncIterator[tuple[int, int]]:
    """Walk over all jobs; of each step, yield how many plans have to move and how many were moved.

    `move_of` says where a plan belongs at an instant; None: where it is. Called in a thread.
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
