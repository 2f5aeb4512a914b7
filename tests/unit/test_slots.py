"""Room for executions, and how many claims are worth having in hand."""

import pytest

from app.scheduler.hosts import STUCK_SECONDS
from app.scheduler.slots import MAX_RESERVE, MAX_SETTLING, RESERVE_SECONDS, Slots
from tests.support.ticks import Ticks

HOST = "127.0.0.1:9"


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def wanted(slots: Slots, *, waiting: int = 0, settling: int = 0, early: bool = False) -> int:
    slots.update_pace()
    return slots.demand(waiting=waiting, settling=settling, early=early)


def test_there_is_room_for_as_many_as_there_are_slots() -> None:
    slots = Slots(2, clock=Ticks())
    empty = wanted(slots)
    slots.grant("a")
    slots.grant("b")

    assert (empty, wanted(slots), slots.free) == (2, 0, 0)


def test_claims_that_have_not_started_count_as_well() -> None:
    assert wanted(Slots(3, clock=Ticks()), waiting=2) == 1


def test_short_executions_are_claimed_a_little_ahead_and_long_ones_not(ticks: Ticks) -> None:
    slots = Slots(10, clock=ticks)
    for number in range(10):
        slots.grant(str(number))
    for number in range(5):
        slots.give(str(number))
        slots.grant(str(number))
    ticks.now += RESERVE_SECONDS
    busy = wanted(slots)
    ticks.now += 10.0

    assert (busy, wanted(slots)) == (5, 0)


def test_the_pace_is_counted_from_the_first_execution_after_a_rest(ticks: Ticks) -> None:
    slots = Slots(10, clock=ticks)
    ticks.now += 100.0
    for number in range(10):
        slots.grant(str(number))
    ticks.now += RESERVE_SECONDS
    for number in range(5):
        slots.give(str(number))

    assert wanted(slots) == 5 + 5


def test_what_nobody_could_start_yet_is_claimed_up_to_the_largest_reserve() -> None:
    assert wanted(Slots(2, clock=Ticks()), waiting=2, early=True) == 2 * MAX_RESERVE


def test_the_reserve_is_bounded_however_high_the_pace(ticks: Ticks) -> None:
    slots = Slots(2, clock=ticks)
    for _ in range(1000):
        slots.grant(HOST)
        slots.give(HOST)
    ticks.now += RESERVE_SECONDS

    assert wanted(slots) == 2 + 2 * MAX_RESERVE


def test_claims_that_wait_to_be_settled_bound_what_is_claimed() -> None:
    slots = Slots(1, clock=Ticks())

    assert wanted(slots, settling=MAX_SETTLING) <= 0
    assert wanted(slots, settling=MAX_SETTLING - 1) == 1
    assert slots.demand_at_once(due=0, settling=MAX_SETTLING) <= 0
    assert slots.demand_at_once(due=0, settling=MAX_SETTLING - 1) == 1


def test_no_host_gets_every_slot() -> None:
    slots = Slots(10, clock=Ticks())
    for _ in range(9):
        slots.grant(HOST)

    assert not slots.admits(HOST)
    assert slots.admits("another")


@pytest.mark.parametrize(
    ("size", "taken"), [(100, 95), (50, 48), (20, 19), (15, 14), (10, 9), (9, 9), (1, 1)]
)
def test_an_address_with_any_number_of_names_leaves_room(size: int, taken: int) -> None:
    slots = Slots(size, clock=Ticks())
    names = [f"n{number}.test" for number in range(150)]
    for name in names:
        if slots.admits(name, ["192.0.2.1"]):
            slots.grant(name, ["192.0.2.1"])

    assert slots.taken == taken
    assert slots.admits("other.test", ["192.0.2.2"]) is (size > 9)


def test_a_host_that_hangs_leaves_room_for_the_others_at_its_address() -> None:
    slots = Slots(100, clock=Ticks())
    for _ in range(150):
        if slots.admits("hangs.test", ["192.0.2.1"]):
            slots.grant("hangs.test", ["192.0.2.1"])

    assert slots.taken == 90
    assert slots.admits("healthy.test", ["192.0.2.1"])


def test_an_address_is_stuck_only_while_nothing_of_it_ends(ticks: Ticks) -> None:
    slots = Slots(20, clock=ticks)
    for number in range(19):
        slots.grant(str(number), ["192.0.2.1"])
    ticks.now += STUCK_SECONDS
    stuck = slots.is_stuck("new", ["192.0.2.1"])
    slots.give("0", ["192.0.2.1"])
    slots.grant("0", ["192.0.2.1"])

    assert (stuck, slots.is_stuck("new", ["192.0.2.1"])) == (True, False)
    assert not slots.is_stuck("new", ["192.0.2.2"])


def test_nothing_is_kept_of_what_is_put_off_at_an_address(ticks: Ticks) -> None:
    slots = Slots(20, clock=ticks)
    for number in range(19):
        slots.grant(str(number), ["192.0.2.1"])
    ticks.now += STUCK_SECONDS
    waits = [slots.defer_seconds(f"n{n}", ["192.0.2.1"], jitter=0.5) for n in range(1000)]
    for number in range(19):
        slots.give(str(number), ["192.0.2.1"])

    assert (waits[0], waits[-1]) == (1.0, 10.0)
    assert not slots.hosts.deferred
    assert not slots.places.deferred
