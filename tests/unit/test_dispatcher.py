"""Which of the claims in dispatcher start, and when."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from uuid import UUID

import pytest

from app.core.runs.claim import Claim, Settlement
from app.core.runs.transition import released
from app.db.clock import DatabaseClock
from app.deadline import Deadline
from app.scheduler import prerequisites
from app.scheduler.admission import MAX_RESERVE, Slots
from app.scheduler.clock_steps import let_go
from app.scheduler.closings import Closings
from app.scheduler.dispatcher import STARTED_IN_A_TURN, SURPLUS_SECONDS, Dispatcher
from app.scheduler.endings import Ending
from app.scheduler.held_claim import HeldClaim
from app.scheduler.preparation import PREPARED_SECONDS
from app.scheduler.prerequisites import (
    MAX_FOR_A_NAME,
    MOST_DECODING,
    CertificateLoads,
    Decodings,
    NameLookups,
    Prerequisite,
)
from app.scheduler.runner import ClaimRunner
from app.scheduler.settler import Settler
from app.scheduler.shares import STUCK_SECONDS
from app.scheduler.windows import Windows
from app.targets.turns import LARGE
from tests.support.claims import some_claim
from tests.support.ticks import ManualTimers, Ticks, turns

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SOON_SECONDS = 0.05
LONG_SECONDS = 5.0
MOMENT_SECONDS = 0.0002


class Settling(Settler):
    """Notes what is settled, and is done with it in the next turn of the loop."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []

    def settle(self, claim: Claim, settlement: Settlement, done: Callable[[], None]) -> None:
        del claim
        self.settled.append(settlement)
        asyncio.get_running_loop().call_soon(done)


class Executing(ClaimRunner):
    """Notes what is carried out, each until it is told to end, and what is settled."""

    def __init__(self, settling: Settling) -> None:
        self.prepared: list[UUID] = []
        self.started: list[UUID] = []
        self.tasks: list[asyncio.Task[None] | None] = []
        """The task in which each that has started is carried out."""
        self.settled = settling.settled
        self.ends: dict[UUID, asyncio.Event] = {}
        self.unloaded: dict[UUID, asyncio.Event] = {}
        """Of claims whose target is not decoded, or certificates loaded, before a test says so."""
        self.nothing = asyncio.Event()
        self.nothing.set()
        self.closings = Closings.__new__(Closings)
        self.closings.windows = Windows()  # there are none

    async def prepare(self, held: HeldClaim) -> None:
        assert held.claim.job_id not in self.started
        self.prepared.append(held.claim.job_id)

    async def load(self, held: HeldClaim) -> None:
        assert held.claim.job_id not in self.started
        await self.unloaded.get(held.claim.job_id, self.nothing).wait()

    async def decode(self, held: HeldClaim) -> None:
        await self.load(held)

    async def carry_out(self, held: HeldClaim) -> Settlement | None:
        self.started.append(held.claim.job_id)
        self.tasks.append(asyncio.current_task())
        await self.ends.setdefault(held.claim.job_id, asyncio.Event()).wait()
        return released(held.claim)

    def end(self, *claims: HeldClaim) -> None:
        for held in claims:
            self.ends.setdefault(held.claim.job_id, asyncio.Event()).set()


class Freed:
    """Counts how often room was offered."""

    times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def ticks() -> Ticks:
    """The clock of everything here."""
    return Ticks()


@pytest.fixture
def timers(ticks: Ticks) -> ManualTimers:
    return ManualTimers(ticks)


@pytest.fixture
def clock(ticks: Ticks) -> DatabaseClock:
    clock = DatabaseClock(clock=ticks)
    clock.observe(NOON, NOON, sent_at=ticks.now, received_at=ticks.now)
    return clock


@pytest.fixture
def settling() -> Settling:
    return Settling()


@pytest.fixture
def executing(settling: Settling) -> Executing:
    return Executing(settling)


@pytest.fixture
def freed() -> Freed:
    return Freed()


class Naming:
    """Names that are known when a test says so."""

    def __init__(self) -> None:
        self.unknown: dict[str, asyncio.Event] = {}
        self.crowded: set[str] = set()
        self.asked: list[str] = []

    def is_known(self, name: str) -> bool:
        return name not in self.unknown

    def is_crowded(self, name: str) -> bool:
        return name in self.crowded

    async def look_up(self, name: str) -> None:
        self.asked.append(name)
        await self.unknown[name].wait()

    def address_of(self, name: str) -> str:
        return "192.0.2.1" if name.startswith("wild") else ""

    def known_address(self, name: str) -> str | None:
        return self.address_of(name) if self.is_known(name) else None


@pytest.fixture
def naming() -> Naming:
    return Naming()


@pytest.fixture
async def dispatcher(  # noqa: PLR0913 - what it is put together of
    *,
    clock: DatabaseClock,
    executing: Executing,
    settling: Settling,
    freed: Freed,
    naming: Naming,
    ticks: Ticks,
    timers: ManualTimers,
) -> AsyncIterator[Dispatcher]:
    """Ten slots."""
    tasks = asyncio.TaskGroup()
    dispatcher = Dispatcher(
        slots=Slots(10, ticks),
        names=naming,
        runner=executing,
        settler=settling,
        clock=clock,
        timers=timers,
        tasks=tasks,
        offer_room=freed,
    )
    async with tasks:
        yield dispatcher
        dispatcher.close()
        executing.end(*dispatcher)
        await dispatcher.wait_until_empty()


def due_claims(  # noqa: PLR0913 - how claims differ
    clock: DatabaseClock,
    count: int,
    *,
    first: int = 1,
    host: str = "",
    due_in: float = 0.0,
    priority: int = 0,
) -> list[HeldClaim]:
    """Claims by number; without a `host` each has one of its own."""
    at = clock.now() + timedelta(seconds=due_in)
    return [
        HeldClaim(
            some_claim(
                job_id=UUID(int=number),
                execution_id=number,
                next_run=at,
                priority=priority,
                target=f'{{"url": "http://{host or number}/"}}',
            ),
            lease_ends=1e9,
        )
        for number in range(first, first + count)
    ]


async def test_what_is_due_starts_up_to_the_number_of_slots(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    dispatcher.take(due_claims(clock, 12))
    await turns()

    assert executing.started == [UUID(int=number) for number in range(1, 11)]
    assert dispatcher.waiting == 2


@pytest.mark.parametrize(("short", "most"), [(False, 10), (True, STARTED_IN_A_TURN)])
async def test_a_short_turn_of_the_loop_starts_few_however_many_slots_get_free_in_it(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, *, short: bool, most: int
) -> None:
    dispatcher.short_turns = short
    claims = due_claims(clock, 20)
    dispatcher.take(claims)
    await turns()
    seen = [10]

    executing.end(*claims[:10])
    while seen[-1] < 20:
        await asyncio.sleep(0)
        seen.append(len(executing.started))

    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) == most


async def test_a_raised_claim_waits_for_no_other_turn(
    dispatcher: Dispatcher, clock: DatabaseClock
) -> None:
    dispatcher.short_turns = True
    usual = due_claims(clock, STARTED_IN_A_TURN + 1)
    [raised] = due_claims(clock, 1, first=100, priority=1)

    dispatcher.take(usual)
    dispatcher.take([raised])

    assert [one.started for one in (*usual, raised)] == [True] * STARTED_IN_A_TURN + [False, True]


async def test_there_is_room_for_raised_jobs_however_many_usual_claims_wait(
    dispatcher: Dispatcher, clock: DatabaseClock
) -> None:
    dispatcher.take(due_claims(clock, 100))
    await turns()
    usual = dispatcher.room_for_raised()
    dispatcher.take(due_claims(clock, 4, first=200, priority=1))

    assert (dispatcher.room(), usual, dispatcher.room_for_raised()) == (0, 10, 6)


@pytest.mark.parametrize("host", ["greedy", "silent", "h/" + "x" * LARGE])
async def test_as_many_raised_claims_wait_as_there_are_slots_whatever_they_wait_for(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming, host: str
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    for first in (100, 200, 300):
        raised = due_claims(clock, dispatcher.room_for_raised(), first=first, host=host, priority=1)
        executing.unloaded |= {held.claim.job_id: asyncio.Event() for held in raised}
        dispatcher.take(raised)
        await turns()
    found = dispatcher.waiting, dispatcher.room_for_raised()
    naming.unknown["silent"].set()
    for event in executing.unloaded.values():
        event.set()

    assert found == (10, 0)


async def test_without_room_usual_jobs_are_claimed_by_rank_up_to_the_slots_and_the_reserve(
    dispatcher: Dispatcher, clock: DatabaseClock
) -> None:
    dispatcher.take(due_claims(clock, 10))
    await turns()
    dispatcher.slots.reserve = 5
    rooms = []
    for first in (101, 201, 301):
        rooms.append(dispatcher.room_by_rank())
        dispatcher.take(due_claims(clock, 10, first=first))
        await turns()

    assert rooms == [15, 5, 0]


async def test_claims_that_wait_to_be_decoded_take_room_by_rank_as_they_take_any_other(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = dispatcher.slots.size
    monkeypatch.setattr(Decodings, "count", size)

    assert dispatcher.room_by_rank() == size - size // 4


async def test_a_freed_slot_goes_to_the_one_that_waits_longest(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    claims = due_claims(clock, 12)
    dispatcher.take(claims)
    await turns()

    executing.end(claims[4])
    await turns()

    assert executing.started[10:] == [UUID(int=11)]
    assert [one.id for one in executing.settled] == [UUID(int=5)]
    assert len(dispatcher) == 11


async def test_a_freed_slot_is_passed_on_in_the_same_task(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, ticks: Ticks
) -> None:
    claims = due_claims(clock, 12)
    dispatcher.take(claims)
    await turns()

    ticks.now += MOMENT_SECONDS
    executing.end(claims[4])
    await turns()

    assert executing.started[10:] == [UUID(int=11)]
    assert executing.tasks[10] is executing.tasks[4]
    assert [one.id for one in executing.settled] == [UUID(int=5)]
    assert (len(dispatcher), dispatcher.waiting) == (11, 1)


async def test_a_freed_slot_is_passed_on_to_nothing_while_it_closes(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, ticks: Ticks
) -> None:
    claims = due_claims(clock, 12)
    dispatcher.take(claims)
    await turns()

    ticks.now += MOMENT_SECONDS
    executing.end(claims[4])
    dispatcher.close()
    await turns()

    assert len(executing.started) == 10
    assert [one.id for one in executing.settled] == [UUID(int=11), UUID(int=12), UUID(int=5)]


async def test_executions_that_wait_for_nothing_leave_turns_of_the_loop_to_others(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    claims = due_claims(clock, 60)
    executing.end(*claims)
    dispatcher.take(claims)
    seen = [0]
    while seen[-1] < 60:
        await asyncio.sleep(0)
        seen.append(len(executing.started))

    assert max(after - before for before, after in pairwise(seen)) <= 10


async def test_a_claim_that_is_not_due_starts_at_its_instant(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    later, sooner = due_claims(clock, 2, due_in=SOON_SECONDS)
    dispatcher.take([later])
    dispatcher.take([sooner, *due_claims(clock, 1, first=3)])
    await turns()
    early = list(executing.started)

    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)

    assert early == [UUID(int=3)]
    assert executing.started == [UUID(int=number) for number in (3, 1, 2)]
    assert clock.now() >= later.claim.next_run


async def test_the_next_claim_is_prepared_ahead_of_its_instant(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    dispatcher.take(due_claims(clock, 3, due_in=LONG_SECONDS))
    prepared = []
    early: list[UUID] = []
    for seconds in (*PREPARED_SECONDS, 0.0):
        await timers.advance(LONG_SECONDS - seconds - MOMENT_SECONDS - timers.time())
        prepared.append(list(executing.prepared))
        early = list(executing.started)
        await timers.advance(2 * MOMENT_SECONDS)
        prepared.append(list(executing.prepared))

    assert prepared == [[UUID(int=1)] * times for times in (0, 1, 1, 2, 2, 2)]
    assert early == []
    assert executing.started == [UUID(int=number) for number in (1, 2, 3)]


async def test_nothing_is_prepared_while_executions_keep_everything_awake(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    dispatcher.preparation.started_at = timers.time() + LONG_SECONDS
    dispatcher.take(due_claims(clock, 1, due_in=SOON_SECONDS))
    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)

    assert executing.started == [UUID(int=1)]
    assert executing.prepared == []


async def test_more_is_claimed_of_what_nobody_could_start_yet(
    dispatcher: Dispatcher, clock: DatabaseClock
) -> None:
    dispatcher.take(due_claims(clock, 10, due_in=LONG_SECONDS))
    asleep = dispatcher.room()
    dispatcher.take(due_claims(clock, 1, first=11))

    assert asleep == 10 * MAX_RESERVE
    assert (dispatcher.room(), dispatcher.room_at_once()) == (0, 9)


async def test_what_waits_for_long_executions_is_given_back_for_others(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    dispatcher.take(due_claims(clock, 30, due_in=SOON_SECONDS))
    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)
    taken, early = len(executing.started), len(executing.settled)
    await timers.advance(SURPLUS_SECONDS + STUCK_SECONDS)

    assert (taken, early) == (10, 0)
    assert {one.id for one in executing.settled} == {UUID(int=n) for n in range(11, 31)}
    assert all(one.next_run == one.expected_next_run for one in executing.settled)


async def test_room_is_offered_only_after_it_was_refused(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, freed: Freed
) -> None:
    claims = due_claims(clock, 10)
    dispatcher.take(claims)
    await turns()
    executing.end(claims[0])
    await turns()
    unasked = freed.times
    dispatcher.take(due_claims(clock, 1, first=11))
    refused = dispatcher.room()
    executing.end(claims[1])
    await turns()

    assert (unasked, refused) == (0, 0)
    assert freed.times == 1


async def test_a_host_at_its_share_does_not_hold_up_the_others(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    dispatcher.take([*due_claims(clock, 20, host="greedy"), *due_claims(clock, 1, first=21)])
    await turns()

    greedy = [UUID(int=number) for number in range(1, 10)]
    assert executing.started == [greedy[0], UUID(int=21), *greedy[1:]]


async def test_those_parked_for_their_host_start_in_their_order(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    claims = due_claims(clock, 12, host="greedy")
    dispatcher.take(claims)
    await turns()
    for held in claims[:3]:
        executing.end(held)
        await turns()

    assert executing.started == [UUID(int=number) for number in range(1, 13)]


async def test_jobs_of_a_host_that_is_stuck_are_put_off(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    dispatcher.take(due_claims(clock, 12, host="stuck"))
    await turns()
    early = len(executing.settled)
    await timers.advance(STUCK_SECONDS)

    assert early == 0

    put_off = {one.id: one.next_run for one in executing.settled}
    assert put_off.keys() == {UUID(int=number) for number in (10, 11, 12)}
    assert all(at is not None and at > clock.now() for at in put_off.values())
    assert len(dispatcher) == 9


async def test_no_claim_waits_for_an_instant_that_a_clock_set_back_has_put_far_away(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, ticks: Ticks
) -> None:
    set_back = asyncio.Event()
    clock.set_back = partial(let_go, dispatcher, set_back)
    started = due_claims(clock, 10)
    waiting = due_claims(clock, 1, first=11)
    asleep = due_claims(clock, 1, first=12, due_in=0.2)
    dispatcher.take([*started, *waiting, *asleep])
    await turns()

    earlier = clock.now() - timedelta(days=60)
    clock.observe(earlier, earlier, sent_at=ticks.now, received_at=ticks.now)
    dispatcher.take(due_claims(clock, 1, first=13, due_in=0.2))
    await turns()

    assert {one.id for one in executing.settled} == {UUID(int=11), UUID(int=12)}
    assert (dispatcher.waiting, set_back.is_set()) == (1, True)


async def test_a_claim_whose_job_was_edited_is_given_back_unless_it_has_started(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    waiting = due_claims(clock, 12, host="greedy")
    asleep = due_claims(clock, 2, first=21, due_in=LONG_SECONDS)
    dispatcher.take([*waiting, *asleep])
    await turns()

    for held in (waiting[0], waiting[10], asleep[0]):
        dispatcher.recall(held.claim.id)
    await turns()

    assert {one.id for one in executing.settled} == {UUID(int=11), UUID(int=21)}
    assert dispatcher.waiting == 3
    for held in waiting:
        executing.end(held)
    await turns()
    assert UUID(int=11) not in executing.started
    assert UUID(int=12) in executing.started


async def test_a_claim_on_its_way_here_is_given_back_when_it_arrives(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    dispatcher.recall(UUID(int=2))
    dispatcher.take(due_claims(clock, 3))
    await turns()
    dispatcher.take(due_claims(clock, 1, first=2))
    await turns()

    assert executing.started == [UUID(int=1), UUID(int=3), UUID(int=2)]
    assert [one.id for one in executing.settled] == [UUID(int=2)]


async def test_an_edit_of_what_has_started_puts_its_lease_in_doubt(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [held] = due_claims(clock, 1)
    dispatcher.take([held])
    await turns()

    dispatcher.recall(held.claim.id)

    assert executing.settled == []
    assert held.doubted
    assert dispatcher.doubts.is_set()


async def test_a_claim_of_a_job_in_hand_cuts_off_what_executes_under_an_earlier_one(
    dispatcher: Dispatcher, clock: DatabaseClock
) -> None:
    [earlier], [later] = due_claims(clock, 1), due_claims(clock, 1)
    dispatcher.take([earlier])
    await turns()

    async def execute() -> None:
        with Deadline(asyncio.get_running_loop()) as scope:
            earlier.begin(scope, now=asyncio.get_running_loop().time())
            dispatcher.take([later])
            await asyncio.sleep(LONG_SECONDS)

    with pytest.raises(TimeoutError):
        await execute()
    assert earlier.ending is Ending.LEASE
    assert list(dispatcher) == [later]


async def test_closing_gives_back_whatever_has_not_started(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    dispatcher.take([*due_claims(clock, 11), *due_claims(clock, 1, first=12, due_in=LONG_SECONDS)])
    await turns()

    dispatcher.close()
    dispatcher.take(due_claims(clock, 1, first=13))
    await turns()

    assert {one.id for one in executing.settled} == {UUID(int=n) for n in (11, 12, 13)}
    assert len(dispatcher) == 10


async def test_dropping_a_claim_leaves_a_newer_one_of_the_same_job(
    dispatcher: Dispatcher, clock: DatabaseClock
) -> None:
    [old] = due_claims(clock, 1, due_in=LONG_SECONDS)
    [new] = due_claims(clock, 1, due_in=LONG_SECONDS)
    dispatcher.claims[old.claim.id] = new

    dispatcher.forget(old)

    assert list(dispatcher) == [new]
    dispatcher.forget(new)


async def test_a_name_that_is_looked_up_takes_no_slot(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown = {f"silent{n}": asyncio.Event() for n in range(20)}
    dispatcher.take(
        [
            held
            for number in range(20)
            for held in due_claims(clock, 1, first=101 + number, host=f"silent{number}")
        ]
    )
    dispatcher.take(due_claims(clock, 10))
    await turns()
    others = list(executing.started)
    asked = list(naming.asked)
    executing.end(*dispatcher)
    for name, event in naming.unknown.items():
        naming.asked.append(name)
        event.set()
    naming.unknown = {}
    await turns()

    assert others == [UUID(int=number) for number in range(1, 11)]
    assert asked == [f"silent{number}" for number in range(20)]
    assert {*executing.started[10:]} == {UUID(int=number) for number in range(101, 121)}


def certified(claims: list[HeldClaim]) -> list[HeldClaim]:
    """Claims whose targets bring certificates."""
    for held in claims:
        held.needs_certificates = True
    return claims


async def test_a_claim_whose_certificates_are_loaded_takes_no_slot(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    unloaded = certified(due_claims(clock, 20, first=101))
    executing.unloaded = {held.claim.job_id: asyncio.Event() for held in unloaded}
    dispatcher.take(unloaded)
    dispatcher.take(due_claims(clock, 10))
    await turns()
    others, waiting = list(executing.started), dispatcher.waiting
    executing.end(*dispatcher)
    for event in executing.unloaded.values():
        event.set()
    await turns()

    assert (others, waiting) == ([UUID(int=number) for number in range(1, 11)], 20)
    assert {*executing.started[10:]} == {held.claim.job_id for held in unloaded}


async def test_claims_whose_large_targets_wait_to_be_decoded_take_no_slot(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    large = due_claims(clock, 20, first=101, host="h/" + "x" * LARGE)
    executing.unloaded = {held.claim.job_id: asyncio.Event() for held in large}
    dispatcher.take(large)
    await turns()
    room = dispatcher.room(), dispatcher.room_at_once()
    dispatcher.take(due_claims(clock, 10))
    await turns()
    others = list(executing.started)
    executing.end(*dispatcher)
    for event in executing.unloaded.values():
        event.set()
    await turns()

    assert others == [UUID(int=number) for number in range(1, 11)]
    assert room == (8, 8)  # as if some of the large ones waited for a slot
    assert {*executing.started[10:]} == {held.claim.job_id for held in large}


async def test_more_large_targets_than_many_times_the_slots_are_left_to_other_instances(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    large = due_claims(clock, MOST_DECODING * 10, first=101, host="h/" + "x" * LARGE)
    executing.unloaded = {held.claim.job_id: asyncio.Event() for held in large}
    dispatcher.take(large)
    await turns()
    room = dispatcher.room(), dispatcher.room_at_once()
    for event in executing.unloaded.values():
        event.set()
    await turns()
    executing.end(*dispatcher)

    assert room == (0, 0)


async def test_certificates_of_a_large_target_are_loaded_once_it_is_decoded(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [held] = certified(due_claims(clock, 1, due_in=LONG_SECONDS, host="h/" + "x" * LARGE))
    executing.unloaded = {held.claim.job_id: asyncio.Event()}
    dispatcher.take([held])
    await turns()

    assert [type(one) for one in dispatcher.due.prerequisites if held in loading(one)] == [
        Decodings
    ]


def loading(one: Prerequisite) -> Collection[HeldClaim]:
    """Return the claims that are worked on."""
    return () if isinstance(one, NameLookups) else one.loading


async def test_certificates_are_loaded_while_their_claim_still_sleeps(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [held] = certified(due_claims(clock, 1, due_in=LONG_SECONDS))
    dispatcher.take([held])
    await turns()

    assert not held.needs_certificates
    assert executing.started == []


async def test_claims_with_more_certificates_than_may_wait_come_later(
    dispatcher: Dispatcher,
    executing: Executing,
    clock: DatabaseClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prerequisites, "MAX_LOADING", 2)
    unloaded = certified(due_claims(clock, 5))
    executing.unloaded = {held.claim.job_id: asyncio.Event() for held in unloaded}
    dispatcher.take(unloaded)
    await turns()
    put_off = [one.id for one in executing.settled]
    for event in executing.unloaded.values():
        event.set()
    await turns()

    assert put_off == [held.claim.job_id for held in unloaded[2:]]
    assert executing.started == [held.claim.job_id for held in unloaded[:2]]


async def test_a_claim_that_is_given_back_loads_its_certificates_no_longer(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [held] = certified(due_claims(clock, 1))
    executing.unloaded = {held.claim.job_id: asyncio.Event()}
    dispatcher.take([held])
    await turns()
    dispatcher.recall(held.claim.id)
    await turns()

    assert [one.id for one in executing.settled] == [held.claim.job_id]
    assert (len(dispatcher), executing.started) == (0, [])
    assert not dispatcher.due.take_all()


async def test_a_claim_that_is_recalled_on_its_way_leaves_no_loading_behind(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [held] = certified(due_claims(clock, 1))
    dispatcher.recall(held.claim.id)
    dispatcher.take([held])  # and cancels the task before its first step
    await turns()

    [holder] = [one for one in dispatcher.prerequisites if isinstance(one, CertificateLoads)]
    assert holder.loading == {}


async def test_a_claim_waits_for_a_name_once_whatever_comes_of_it(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["never"] = asyncio.Event()
    dispatcher.take(due_claims(clock, 1, host="never"))
    await turns()
    waiting = len(executing.started)
    naming.unknown["never"].set()
    await turns()

    assert (waiting, executing.started) == (0, [UUID(int=1)])


async def test_what_waits_for_names_does_not_keep_others_from_being_claimed(
    dispatcher: Dispatcher, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    dispatcher.take(due_claims(clock, 20, host="silent"))
    await turns()

    assert (dispatcher.room(), dispatcher.waiting, dispatcher.settling) == (10, 20, 0)
    naming.unknown["silent"].set()


async def test_more_of_one_silent_name_than_may_wait_come_later(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    dispatcher.take(due_claims(clock, MAX_FOR_A_NAME + 5, host="silent"))
    await turns()

    assert dispatcher.waiting == MAX_FOR_A_NAME
    assert len(executing.settled) == 5
    assert all(one.next_run is not None and one.next_run > clock.now() for one in executing.settled)
    naming.unknown["silent"].set()


async def test_a_name_of_a_crowd_comes_later(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    naming.crowded.add("silent")
    dispatcher.take(due_claims(clock, 1, host="silent"))
    await turns()

    assert [one.id for one in executing.settled] == [UUID(int=1)]
    assert naming.asked == []
    assert not dispatcher.waiting


async def test_a_name_is_looked_up_while_its_claim_still_sleeps(
    dispatcher: Dispatcher, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["name"] = asyncio.Event()
    dispatcher.take(due_claims(clock, 1, host="name", due_in=LONG_SECONDS))
    await turns()

    assert naming.asked == ["name"]
    naming.unknown["name"].set()


async def test_a_name_whose_answer_is_too_old_by_then_is_waited_for_without_a_slot(
    dispatcher: Dispatcher,
    executing: Executing,
    clock: DatabaseClock,
    naming: Naming,
    timers: ManualTimers,
) -> None:
    dispatcher.take(due_claims(clock, 1, host="name", due_in=SOON_SECONDS))
    naming.unknown["name"] = asyncio.Event()
    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)
    early, taken = list(executing.started), dispatcher.slots.taken
    naming.unknown["name"].set()
    await turns()

    assert (early, taken) == ([], 0)
    assert executing.started == [UUID(int=1)]


async def test_a_deleted_job_waits_for_no_name(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    dispatcher.take(due_claims(clock, 2, host="silent"))
    await turns()
    dispatcher.recall(UUID(int=1))
    naming.unknown["silent"].set()
    await turns()

    assert [one.id for one in executing.settled] == [UUID(int=1)]
    assert executing.started == [UUID(int=2)]


async def test_closing_waits_for_no_name(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    """The fixture would hang if the lookup went on."""
    naming.unknown["silent"] = asyncio.Event()
    dispatcher.take(due_claims(clock, 3, host="silent"))
    await turns()
    dispatcher.close()
    await turns()

    assert len(executing.settled) == 3
    assert not dispatcher.waiting


async def test_names_of_one_address_share_what_it_gets(
    dispatcher: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    wild = [
        held
        for number in range(1, 21)
        for held in due_claims(clock, 1, first=number, host=f"wild{number}")
    ]
    dispatcher.take([*wild, *due_claims(clock, 1, first=21)])
    await turns()

    assert executing.started == [*(UUID(int=number) for number in range(1, 10)), UUID(int=21)]
