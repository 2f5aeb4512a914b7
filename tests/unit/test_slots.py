"""Room for executions, and how many claims are worth having in hand."""

import pytest

from app.scheduler.slots import MOST_RESERVE, MOST_SETTLING, RESERVE_SECONDS, Slots

HOST = "127.0.0.1:9"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, to be set."""
    now = [0.0]
    monkeypatch.setattr("app.scheduler.slots.monotonic", lambda: now[0])
    return now


def wanted(slots: Slots, *, waiting: int = 0, settling: int = 0, early: bool = False) -> int:
    slots.reckon()
    return slots.wanted(waiting=waiting, settling=settling, early=early)


def test_there_is_room_for_as_many_as_there_are_slots() -> None:
    slots = Slots(2)
    empty = wanted(slots)
    slots.grant("a")
    slots.grant("b")

    assert (empty, wanted(slots), slots.free) == (2, 0, 0)


def test_claims_that_have_not_started_count_as_well() -> None:
    assert wanted(Slots(3), waiting=2) == 1


def test_short_executions_are_claimed_a_little_ahead_and_long_ones_not(now: list[float]) -> None:
    slots = Slots(10)
    for number in range(10):
        slots.grant(str(number))
    for number in range(5):
        slots.give(str(number))
        slots.grant(str(number))
    now[0] += RESERVE_SECONDS
    busy = wanted(slots)
    now[0] += 10.0

    assert (busy, wanted(slots)) == (5, 0)


def test_the_pace_is_counted_from_the_first_execution_after_a_rest(now: list[float]) -> None:
    slots = Slots(10)
    now[0] += 100.0
    for number in range(10):
        slots.grant(str(number))
    now[0] += RESERVE_SECONDS
    for number in range(5):
        slots.give(str(number))

    assert wanted(slots) == 5 + 5


def test_what_nobody_could_start_yet_is_claimed_up_to_the_largest_reserve() -> None:
    assert wanted(Slots(2), waiting=2, early=True) == 2 * MOST_RESERVE


def test_the_reserve_is_bounded_however_high_the_pace(now: list[float]) -> None:
    slots = Slots(2)
    for _ in range(1000):
        slots.grant(HOST)
        slots.give(HOST)
    now[0] += RESERVE_SECONDS

    assert wanted(slots) == 2 + 2 * MOST_RESERVE


def test_claims_that_wait_to_be_settled_bound_what_is_claimed() -> None:
    slots = Slots(1)

    assert wanted(slots, settling=MOST_SETTLING) <= 0
    assert wanted(slots, settling=MOST_SETTLING - 1) == 1
    assert slots.wanted_at_once(due=0, settling=MOST_SETTLING) <= 0
    assert slots.wanted_at_once(due=0, settling=MOST_SETTLING - 1) == 1


def test_no_host_gets_every_slot() -> None:
    slots = Slots(10)
    for _ in range(9):
        slots.grant(HOST)

    assert not slots.admits(HOST)
    assert slots.admits("another")
