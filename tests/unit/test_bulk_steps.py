"""The steps of bulk actions: whose turn it is, and how long each rests."""

import asyncio
from typing import cast
from uuid import UUID

import pytest

from app.core.jobs.identity import NIL
from app.db import Database
from app.db.bulk import Done
from app.db.database import Runner
from app.jobs.bulk import Held, Item, Part, Work
from app.scheduler import bulk_steps
from app.scheduler.bulk import room
from app.scheduler.bulk_steps import Steps
from app.wire.bulk import BulkPreview

ID = UUID(int=1)
NO_DATABASE = cast("Database", None)


class Counting:
    """Work of so many steps, each of a job, of which it counts those that were taken."""

    def __init__(self, steps: int, *, waits: int = 0) -> None:
        self.begun = asyncio.Event()
        self.steps = steps
        self.waits = waits
        """How often there is nothing that can be done yet."""
        self.taken = 0

    async def read(self, _db: Database, *, reached: str | None, limit: int) -> Part:
        del limit
        if self.waits:
            self.waits -= 1
            return Part(items=[], reached="", is_last=False, wait_seconds=0.001)
        step = int(reached or 0) + 1
        item = Item(key=str(step), job_id=NIL)
        return Part(items=[item], reached=str(step), is_last=step == self.steps)

    async def write(self, _transaction: Runner, part: Part) -> Done:
        self.taken += 1
        self.begun.set()
        return Done(reached=part.reached, matched=1, changed=1)

    async def preview(self, _db: Database) -> BulkPreview:
        raise NotImplementedError


class WithoutDatabase(Steps):
    """Steps that are written down nowhere."""

    async def step(self, part: Part) -> Done | None:
        return await self.work.write(NO_DATABASE, part)


def steps(
    work: Work,
    turns: asyncio.Semaphore,
    *,
    rate: float | None = None,
    lost: asyncio.Event | None = None,
) -> Steps:
    return WithoutDatabase(
        NO_DATABASE,
        ID,
        work,
        instance="one",
        reached=None,
        rate=rate,
        turns=turns,
        lost=lost or asyncio.Event(),
        clock=asyncio.get_running_loop().time,
    )


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rest for no longer than it takes to let others have their turn."""
    monkeypatch.setattr(bulk_steps, "REST_SECONDS", 0.0001)


@pytest.mark.parametrize(
    ("many", "more", "expected"),
    [(0, 0, 4), (3, 0, 1), (4, 0, 0), (4, 4, 4), (48, 4, 2), (50, 4, 0)],
)
def test_an_instance_takes_more_actions_than_take_turns_once_no_other_has_taken_them(
    many: int, more: int, expected: int
) -> None:
    assert room(many, more=more) == expected


async def test_a_small_action_is_done_while_large_ones_take_their_turns() -> None:
    turns = asyncio.Semaphore(2)
    large = [Counting(40) for _ in range(5)]
    under_way = [asyncio.create_task(steps(one, turns).take_all()) for one in large]
    for one in large:
        await one.begun.wait()
    before = sum(one.taken for one in large)

    assert await steps(Counting(1), turns).take_all()

    between = sum(one.taken for one in large) - before
    assert between <= 2 * len(large)
    assert all(await asyncio.gather(*under_way))
    assert [one.taken for one in large] == [40] * 5


async def test_an_action_that_waits_keeps_no_turn() -> None:
    turns = asyncio.Semaphore(1)
    waiting = asyncio.create_task(steps(Counting(2, waits=20), turns).take_all())
    slow = asyncio.create_task(steps(Counting(60), turns, rate=0.01).take_all())
    await asyncio.sleep(0.002)

    assert await steps(Counting(5), turns).take_all()

    assert not waiting.done()
    assert not slow.done()
    for one in (waiting, slow):
        one.cancel()


async def test_an_action_that_is_lost_takes_no_further_step() -> None:
    lost = asyncio.Event()
    work = Counting(60)
    under_way = asyncio.create_task(
        steps(work, asyncio.Semaphore(1), rate=0.01, lost=lost).take_all()
    )
    await work.begun.wait()

    lost.set()

    assert await under_way is False
    assert work.taken == 1


async def test_steps_grow_while_they_are_quick_and_shrink_while_they_are_not() -> None:
    one = steps(Counting(1), asyncio.Semaphore(1))
    slow_runs = steps(Counting(1), asyncio.Semaphore(1), rate=3.5)
    quick, slow = bulk_steps.QUICK_SECONDS * 0.9, bulk_steps.QUICK_SECONDS * 2.1
    sizes = [one.size]
    for took in (quick, quick, quick, bulk_steps.QUICK_SECONDS, slow, slow, slow):
        one.fit(took)
        sizes.append(one.size)

    assert sizes == [25, 50, 100, 100, 100, 50, 25, 25]
    slow_runs.fit(quick)
    assert slow_runs.size == 3


async def test_a_step_that_met_locked_jobs_is_tried_again_with_fewer_in_another_turn() -> None:
    one = steps(Counting(1), asyncio.Semaphore(1))
    many = Part(items=[Item(key=str(n), job_id=NIL) for n in range(20)], reached="20", is_last=True)
    single = Part(items=[Item(key="1", job_id=NIL)], reached="1", is_last=True)

    assert one.put_off(many, Held("locked")) == bulk_steps.REST_SECONDS
    assert one.size == 5
    waits = [one.put_off(single, Held("locked")) for _ in range(bulk_steps.TRIES)]
    assert waits[:2] == [0.2, 0.4]
    assert waits[-1] is None
    assert one.put_off(single, ValueError("no")) is None
