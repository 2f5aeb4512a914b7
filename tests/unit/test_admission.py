"""Which claims get a slot, and how many are worth holding."""

import pytest

from app.scheduler.admission import MAX_RESERVE, MAX_SETTLING, RESERVE_SECONDS, Slots
from app.scheduler.deferral import MAX_DEFER_SECONDS
from app.scheduler.shares import STUCK_SECONDS, Shares
from tests.support.ticks import Ticks

HOST = "127.0.0.1:9"


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def wanted(slots: Slots, *, waiting: int = 0, settling: int = 0, early: bool = False) -> int:
    slots.update_pace()
    return slots.demand(waiting=waiting, settling=settling, early=early)


def test_there_is_room_for_as_many_as_there_are_slots() -> None:
    slots = Slots(2, Ticks())
    empty = wanted(slots)
    slots.grant("a")
    slots.grant("b")

    assert (empty, wanted(slots), slots.free) == (2, 0, 0)


def test_claims_that_have_not_started_count_as_well() -> None:
    assert wanted(Slots(3, Ticks()), waiting=2) == 1


def test_short_executions_are_claimed_a_little_ahead_and_long_ones_not(ticks: Ticks) -> None:
    slots = Slots(10, ticks)
    for number in range(10):
        slots.grant(str(number))
    for number in range(5):
        slots.take_back(str(number))
        slots.grant(str(number))
    ticks.now += RESERVE_SECONDS
    busy = wanted(slots)
    ticks.now += 10.0

    assert (busy, wanted(slots)) == (5, 0)


def test_the_pace_is_counted_from_the_first_execution_after_a_rest(ticks: Ticks) -> None:
    slots = Slots(10, ticks)
    ticks.now += 100.0
    for number in range(10):
        slots.grant(str(number))
    ticks.now += RESERVE_SECONDS
    for number in range(5):
        slots.take_back(str(number))

    assert wanted(slots) == 5 + 5


def test_what_nobody_could_start_yet_is_claimed_up_to_the_largest_reserve() -> None:
    assert wanted(Slots(2, Ticks()), waiting=2, early=True) == 2 * MAX_RESERVE


def test_the_reserve_is_bounded_however_high_the_pace(ticks: Ticks) -> None:
    slots = Slots(2, ticks)
    for _ in range(1000):
        slots.grant(HOST)
        slots.take_back(HOST)
    ticks.now += RESERVE_SECONDS

    assert wanted(slots) == 2 + 2 * MAX_RESERVE


def test_claims_that_wait_to_be_settled_bound_what_is_claimed() -> None:
    slots = Slots(1, Ticks())

    assert wanted(slots, settling=MAX_SETTLING) <= 0
    assert wanted(slots, settling=MAX_SETTLING - 1) == 1
    assert slots.demand_at_once(due=0, settling=MAX_SETTLING) <= 0
    assert slots.demand_at_once(due=0, settling=MAX_SETTLING - 1) == 1


def test_no_host_gets_every_slot() -> None:
    slots = Slots(10, Ticks())
    for _ in range(9):
        slots.grant(HOST)

    assert not slots.may_have_slot(HOST)
    assert slots.may_have_slot("another")


@pytest.mark.parametrize(
    ("size", "taken"), [(100, 95), (50, 48), (20, 19), (15, 14), (10, 9), (9, 9), (1, 1)]
)
def test_an_address_with_any_number_of_names_leaves_room(size: int, taken: int) -> None:
    slots = Slots(size, Ticks())
    names = [f"n{number}.test" for number in range(150)]
    for name in names:
        if slots.may_have_slot(name, ["192.0.2.1"]):
            slots.grant(name, ["192.0.2.1"])

    assert slots.taken == taken
    assert slots.may_have_slot("other.test", ["192.0.2.2"]) is (size > 9)


def test_a_host_that_hangs_leaves_room_for_the_others_at_its_address() -> None:
    slots = Slots(100, Ticks())
    for _ in range(150):
        if slots.may_have_slot("hangs.test", ["192.0.2.1"]):
            slots.grant("hangs.test", ["192.0.2.1"])

    assert slots.taken == 90
    assert slots.may_have_slot("healthy.test", ["192.0.2.1"])


def test_an_address_is_stuck_only_while_nothing_of_it_ends(ticks: Ticks) -> None:
    slots = Slots(20, ticks)
    for number in range(19):
        slots.grant(str(number), ["192.0.2.1"])
    ticks.now += STUCK_SECONDS
    stuck = slots.is_stuck("new", ["192.0.2.1"])
    slots.take_back("0", ["192.0.2.1"])
    slots.grant("0", ["192.0.2.1"])

    assert (stuck, slots.is_stuck("new", ["192.0.2.1"])) == (True, False)
    assert not slots.is_stuck("new", ["192.0.2.2"])


def test_nothing_is_kept_of_what_is_put_off_at_an_address(ticks: Ticks) -> None:
    slots = Slots(20, ticks)
    for number in range(19):
        slots.grant(str(number), ["192.0.2.1"])
    ticks.now += STUCK_SECONDS
    waits = [slots.defer_seconds(f"n{n}", ["192.0.2.1"], jitter=0.5) for n in range(1000)]
    for number in range(19):
        slots.take_back(str(number), ["192.0.2.1"])

    assert (waits[0], waits[-1]) == (1.0, 10.0)
    assert not slots.hosts.deferred
    assert not slots.addresses.deferred


def test_a_due_claim_starts_waits_or_comes_later(ticks: Ticks) -> None:
    slots = Slots(10, ticks)
    first = slots.admit(HOST)
    for _ in range(9):
        slots.grant(HOST)
    full = slots.admit(HOST)
    ticks.now += STUCK_SECONDS

    assert (first, full, slots.admit(HOST), slots.admit("another")) == (
        "start",
        "park",
        "defer",
        "start",
    )


def granted(names: list[str], *, slots: int) -> dict[str, int]:
    """Let the hosts take slots by turns until none may have another."""
    shares, free = Shares(Ticks()), slots
    taken = dict.fromkeys(names, 0)
    open_to = [name for name in names if free and not shares.is_full(name, free=free)]
    while open_to:
        name = min(open_to, key=lambda one: taken[one])
        shares.begin(name)
        taken[name] += 1
        free -= 1
        open_to = [name for name in names if free and not shares.is_full(name, free=free)]
    return taken


@pytest.mark.parametrize(
    ("names", "slots", "shares"),
    [
        (["a"], 100, [90]),
        (["a", "b"], 100, [48, 47]),
        (["a", "b", "c"], 100, [33, 32, 32]),
        (["a"], 5, [5]),
        (["a"], 1, [1]),
    ],
)
def test_greedy_hosts_leave_room(names: list[str], slots: int, shares: list[int]) -> None:
    assert sorted(granted(names, slots=slots).values(), reverse=True) == shares


def test_a_full_host_is_stuck_only_while_it_ends_nothing() -> None:
    ticks = Ticks()
    shares = Shares(ticks)
    for _ in range(90):
        shares.begin("a")
    at_first = shares.is_stuck("a", free=10)
    ticks.now += STUCK_SECONDS
    later = shares.is_stuck("a", free=10)
    shares.end("a", now=shares.clock())
    shares.begin("a")

    assert (at_first, later, shares.is_stuck("a", free=10)) == (False, True, False)
    assert not shares.is_stuck("b", free=10)


def test_the_more_is_put_off_the_longer_until_something_ends() -> None:
    shares = Shares(Ticks())
    shares.begin("a")
    waits = [shares.defer_seconds("a", jitter=0.5) for _ in range(5000)]
    shares.end("a", now=shares.clock())
    shares.begin("a")

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1.0, MAX_DEFER_SECONDS)
    assert shares.defer_seconds("a", jitter=0.5) == 1.0


def test_nothing_is_kept_of_a_host_that_has_nothing_to_execute() -> None:
    shares = Shares(Ticks())
    shares.begin("a")
    shares.defer_seconds("a", jitter=0.0)
    shares.end("a", now=shares.clock())

    assert (shares.executing, shares.moved_at, shares.deferred) == ({}, {}, {})
