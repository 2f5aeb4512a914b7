"""Room for executions, and how many claims are worth having in hand."""

import asyncio
from uuid import UUID

import pytest

from app.scheduler.inflight import InFlight
from app.scheduler.slots import MOST_SETTLING, RESERVE_SECONDS, Slots
from tests.support.claims import some_claim

HOST = "127.0.0.1:9"


class Freed:
    """Counts how often room was offered."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def freed() -> Freed:
    return Freed()


def flight() -> InFlight:
    return InFlight(some_claim(), lease_ends=1e9)


async def test_there_is_room_for_as_many_as_there_are_slots(freed: Freed) -> None:
    slots = Slots(2, freed=freed)
    empty = slots.room()
    assert await slots.take(HOST)
    assert await slots.take(HOST)

    assert (empty, slots.room()) == (2, 0)


async def test_a_freed_slot_is_offered_only_when_there_was_no_room(freed: Freed) -> None:
    slots = Slots(1, freed=freed)
    await slots.take(HOST)
    slots.give(HOST)
    unasked = freed.times
    await slots.take(HOST)
    slots.room()
    slots.give(HOST)

    assert (unasked, freed.times) == (0, 1)


async def test_who_waits_longest_gets_the_slot(freed: Freed) -> None:
    slots = Slots(1, freed=freed)
    await slots.take(HOST)
    first = asyncio.create_task(slots.take(HOST))
    second = asyncio.create_task(slots.take(HOST))
    await asyncio.sleep(0)

    slots.give(HOST)
    await first

    assert not second.done()
    slots.give(HOST)
    assert await second


async def test_closing_sends_everybody_who_waits_away(freed: Freed) -> None:
    slots = Slots(1, freed=freed)
    await slots.take(HOST)
    waiting = asyncio.create_task(slots.take(HOST))
    await asyncio.sleep(0)

    slots.close()

    assert await waiting is False
    assert await slots.take(HOST) is False


async def test_short_executions_are_claimed_a_little_ahead_and_long_ones_not(
    freed: Freed, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("app.scheduler.slots.monotonic", lambda: now[0])
    slots = Slots(10, freed=freed)
    for number in range(10):
        await slots.take(str(number))
    for number in range(5):
        slots.give(str(number))
        await slots.take(str(number))
    now[0] += RESERVE_SECONDS
    busy = slots.room()
    now[0] += 10.0

    assert (busy, slots.room()) == (5, 0)


async def test_claims_that_wait_to_be_settled_bound_what_is_claimed(freed: Freed) -> None:
    slots = Slots(1, freed=freed)
    flights = [flight() for _ in range(MOST_SETTLING)]
    for number, one in enumerate(flights):
        one.claim = some_claim(job_id=UUID(int=number))
        slots.hold(one)
    full = slots.room()
    slots.drop(flights[0])

    assert (full, freed.times, slots.room()) == (0, 1, 1)
    assert len(slots) == MOST_SETTLING - 1


async def test_dropping_a_claim_leaves_a_newer_one_of_the_same_job(freed: Freed) -> None:
    slots = Slots(1, freed=freed)
    old, new = flight(), flight()
    slots.hold(old)
    slots.hold(new)

    slots.drop(old)

    assert list(slots) == [new]
