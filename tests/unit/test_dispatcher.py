"""Which of the claims in hand start, and when."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.core.runs.claim import Claim, Settlement
from app.core.runs.transition import released
from app.db.clock import DatabaseClock
from app.deadline import Deadline
from app.scheduler import certificates
from app.scheduler.dispatcher import PREPARED_SECONDS, SURPLUS_SECONDS, Dispatcher
from app.scheduler.held_claim import Ending, HeldClaim
from app.scheduler.hosts import STUCK_SECONDS
from app.scheduler.naming import MAX_FOR_A_NAME
from app.scheduler.runner import ClaimRunner
from app.scheduler.slots import MAX_RESERVE, Slots
from tests.support.claims import some_claim
from tests.support.ticks import ManualTimers, Ticks, turns

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SOON_SECONDS = 0.05
LONG_SECONDS = 5.0
MOMENT_SECONDS = 0.0002


class Executing(ClaimRunner):
    """Notes what is carried out, each until it is told to end, and what is settled."""

    def __init__(self) -> None:
        self.prepared: list[UUID] = []
        self.started: list[UUID] = []
        self.settled: list[Settlement] = []
        self.ends: dict[UUID, asyncio.Event] = {}
        self.unloaded: dict[UUID, asyncio.Event] = {}
        """Of claims whose certificates are not loaded before a test says so."""
        self.nothing = asyncio.Event()
        self.nothing.set()

    async def prepare(self, claim: Claim) -> None:
        assert claim.job_id not in self.started
        self.prepared.append(claim.job_id)

    async def load(self, claim: Claim) -> None:
        assert claim.job_id not in self.started
        await self.unloaded.get(claim.job_id, self.nothing).wait()

    async def carry_out(self, flight: HeldClaim) -> Settlement | None:
        self.started.append(flight.claim.job_id)
        await self.ends.setdefault(flight.claim.job_id, asyncio.Event()).wait()
        return released(flight.claim)

    def close(self, claim: Claim, settlement: Settlement, *, then: Callable[[], None]) -> None:
        del claim
        self.settled.append(settlement)
        asyncio.get_running_loop().call_soon(then)

    def end(self, *flights: HeldClaim) -> None:
        for flight in flights:
            self.ends.setdefault(flight.claim.job_id, asyncio.Event()).set()


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
def executing() -> Executing:
    return Executing()


@pytest.fixture
def freed() -> Freed:
    return Freed()


class Naming:
    """Names that are known when a test says so."""

    def __init__(self) -> None:
        self.unknown: dict[str, asyncio.Event] = {}
        self.crowded: set[str] = set()
        self.asked: list[str] = []

    def is_settled(self, name: str) -> bool:
        return name not in self.unknown

    def is_crowded(self, name: str) -> bool:
        return name in self.crowded

    async def settle(self, name: str) -> None:
        self.asked.append(name)
        await self.unknown[name].wait()

    def place(self, name: str) -> str:
        return "192.0.2.1" if name.startswith("wild") else ""


@pytest.fixture
def naming() -> Naming:
    return Naming()


@pytest.fixture
async def hand(  # noqa: PLR0913 - what it is put together of
    *,
    clock: DatabaseClock,
    executing: Executing,
    freed: Freed,
    naming: Naming,
    ticks: Ticks,
    timers: ManualTimers,
) -> AsyncIterator[Dispatcher]:
    """Ten slots."""
    hand = Dispatcher(Slots(10, clock=ticks), clock, freed=freed, timers=timers)
    async with asyncio.TaskGroup() as tasks:
        hand.open(executing, tasks, names=naming)
        yield hand
        hand.close()
        executing.end(*hand)
        await hand.until_empty()


def flights(
    clock: DatabaseClock, count: int, *, first: int = 1, host: str = "", due_in: float = 0.0
) -> list[HeldClaim]:
    """Claims by number; without a `host` each has one of its own."""
    at = clock.now() + timedelta(seconds=due_in)
    return [
        HeldClaim(
            some_claim(
                job_id=UUID(int=number),
                execution_id=number,
                next_run=at,
                target=f'{{"url": "http://{host or number}/"}}',
            ),
            lease_ends=1e9,
        )
        for number in range(first, first + count)
    ]


async def test_what_is_due_starts_up_to_the_number_of_slots(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    hand.take(flights(clock, 12))
    await turns()

    assert executing.started == [UUID(int=number) for number in range(1, 11)]
    assert hand.waiting == 2


async def test_a_freed_slot_goes_to_the_one_that_waits_longest(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    claims = flights(clock, 12)
    hand.take(claims)
    await turns()

    executing.end(claims[4])
    await turns()

    assert executing.started[10:] == [UUID(int=11)]
    assert [one.job_id for one in executing.settled] == [UUID(int=5)]
    assert len(hand) == 11


async def test_a_claim_that_is_not_due_starts_at_its_instant(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    later, sooner = flights(clock, 2, due_in=SOON_SECONDS)
    hand.take([later])
    hand.take([sooner, *flights(clock, 1, first=3)])
    await turns()
    early = list(executing.started)

    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)

    assert early == [UUID(int=3)]
    assert executing.started == [UUID(int=number) for number in (3, 1, 2)]
    assert clock.now() >= later.claim.next_run


async def test_the_next_claim_is_prepared_ahead_of_its_instant(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    hand.take(flights(clock, 3, due_in=LONG_SECONDS))
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
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    hand.started_at = timers.time() + LONG_SECONDS
    hand.take(flights(clock, 1, due_in=SOON_SECONDS))
    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)

    assert executing.started == [UUID(int=1)]
    assert executing.prepared == []


async def test_more_is_claimed_of_what_nobody_could_start_yet(
    hand: Dispatcher, clock: DatabaseClock
) -> None:
    hand.take(flights(clock, 10, due_in=LONG_SECONDS))
    asleep = hand.room()
    hand.take(flights(clock, 1, first=11))

    assert asleep == 10 * MAX_RESERVE
    assert (hand.room(), hand.room_at_once()) == (0, 9)


async def test_what_waits_for_long_executions_is_given_back_for_others(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    hand.take(flights(clock, 30, due_in=SOON_SECONDS))
    await timers.advance(SOON_SECONDS + MOMENT_SECONDS)
    taken, early = len(executing.started), len(executing.settled)
    await timers.advance(SURPLUS_SECONDS + STUCK_SECONDS)

    assert (taken, early) == (10, 0)
    assert {one.job_id for one in executing.settled} == {UUID(int=n) for n in range(11, 31)}
    assert all(one.next_run == one.expected_next_run for one in executing.settled)


async def test_room_is_offered_only_after_it_was_refused(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, freed: Freed
) -> None:
    claims = flights(clock, 10)
    hand.take(claims)
    await turns()
    executing.end(claims[0])
    await turns()
    unasked = freed.times
    hand.take(flights(clock, 1, first=11))
    refused = hand.room()
    executing.end(claims[1])
    await turns()

    assert (unasked, refused) == (0, 0)
    assert freed.times == 1


async def test_a_host_at_its_share_does_not_hold_up_the_others(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    hand.take([*flights(clock, 20, host="greedy"), *flights(clock, 1, first=21)])
    await turns()

    assert executing.started == [*(UUID(int=number) for number in range(1, 10)), UUID(int=21)]


async def test_those_parked_for_their_host_start_in_their_order(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    claims = flights(clock, 12, host="greedy")
    hand.take(claims)
    await turns()
    for flight in claims[:3]:
        executing.end(flight)
        await turns()

    assert executing.started == [UUID(int=number) for number in range(1, 13)]


async def test_jobs_of_a_host_that_is_stuck_are_put_off(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, timers: ManualTimers
) -> None:
    hand.take(flights(clock, 12, host="stuck"))
    await turns()
    early = len(executing.settled)
    await timers.advance(STUCK_SECONDS)

    assert early == 0

    put_off = {one.job_id: one.next_run for one in executing.settled}
    assert put_off.keys() == {UUID(int=number) for number in (10, 11, 12)}
    assert all(at is not None and at > clock.now() for at in put_off.values())
    assert len(hand) == 9


async def test_a_claim_whose_job_was_edited_is_given_back_unless_it_has_started(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    waiting = flights(clock, 12, host="greedy")
    asleep = flights(clock, 2, first=21, due_in=LONG_SECONDS)
    hand.take([*waiting, *asleep])
    await turns()

    for flight in (waiting[0], waiting[10], asleep[0]):
        hand.recall(flight.claim.job_id)
    await turns()

    assert {one.job_id for one in executing.settled} == {UUID(int=11), UUID(int=21)}
    assert hand.waiting == 3
    for flight in waiting:
        executing.end(flight)
    await turns()
    assert UUID(int=11) not in executing.started
    assert UUID(int=12) in executing.started


async def test_a_claim_on_its_way_here_is_given_back_when_it_arrives(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    hand.recall(UUID(int=2))
    hand.take(flights(clock, 3))
    await turns()
    hand.take(flights(clock, 1, first=2))
    await turns()

    assert executing.started == [UUID(int=1), UUID(int=3), UUID(int=2)]
    assert [one.job_id for one in executing.settled] == [UUID(int=2)]


async def test_an_edit_of_what_has_started_puts_its_lease_in_doubt(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [flight] = flights(clock, 1)
    hand.take([flight])
    await turns()

    hand.recall(flight.claim.job_id)

    assert executing.settled == []
    assert flight.doubted
    assert hand.doubts.is_set()


async def test_a_claim_of_a_job_in_hand_cuts_off_what_executes_under_an_earlier_one(
    hand: Dispatcher, clock: DatabaseClock
) -> None:
    [earlier], [later] = flights(clock, 1), flights(clock, 1)
    hand.take([earlier])
    await turns()

    async def execute() -> None:
        with Deadline(asyncio.get_running_loop()) as scope:
            earlier.begin(scope, timeout_seconds=LONG_SECONDS)
            hand.take([later])
            await asyncio.sleep(LONG_SECONDS)

    with pytest.raises(TimeoutError):
        await execute()
    assert earlier.ending is Ending.LEASE
    assert list(hand) == [later]


async def test_closing_gives_back_whatever_has_not_started(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    hand.take([*flights(clock, 11), *flights(clock, 1, first=12, due_in=LONG_SECONDS)])
    await turns()

    hand.close()
    hand.take(flights(clock, 1, first=13))
    await turns()

    assert {one.job_id for one in executing.settled} == {UUID(int=n) for n in (11, 12, 13)}
    assert len(hand) == 10


async def test_dropping_a_claim_leaves_a_newer_one_of_the_same_job(
    hand: Dispatcher, clock: DatabaseClock
) -> None:
    [old] = flights(clock, 1, due_in=LONG_SECONDS)
    [new] = flights(clock, 1, due_in=LONG_SECONDS)
    hand.claims[old.claim.job_id] = new

    hand.drop(old)

    assert list(hand) == [new]
    hand.drop(new)


async def test_a_name_that_is_looked_up_takes_no_slot(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown = {f"silent{n}": asyncio.Event() for n in range(20)}
    hand.take(
        [
            flight
            for number in range(20)
            for flight in flights(clock, 1, first=101 + number, host=f"silent{number}")
        ]
    )
    hand.take(flights(clock, 10))
    await turns()
    others = list(executing.started)
    asked = list(naming.asked)
    executing.end(*hand)
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
    for flight in claims:
        flight.brings_certificates = True
    return claims


async def test_a_claim_whose_certificates_are_loaded_takes_no_slot(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    unloaded = certified(flights(clock, 20, first=101))
    executing.unloaded = {flight.claim.job_id: asyncio.Event() for flight in unloaded}
    hand.take(unloaded)
    hand.take(flights(clock, 10))
    await turns()
    others, held = list(executing.started), hand.waiting
    executing.end(*hand)
    for event in executing.unloaded.values():
        event.set()
    await turns()

    assert (others, held) == ([UUID(int=number) for number in range(1, 11)], 20)
    assert {*executing.started[10:]} == {flight.claim.job_id for flight in unloaded}


async def test_certificates_are_loaded_while_their_claim_still_sleeps(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [flight] = certified(flights(clock, 1, due_in=LONG_SECONDS))
    hand.take([flight])
    await turns()

    assert not flight.brings_certificates
    assert executing.started == []


async def test_claims_with_more_certificates_than_may_wait_come_later(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "MAX_LOADING", 2)
    unloaded = certified(flights(clock, 5))
    executing.unloaded = {flight.claim.job_id: asyncio.Event() for flight in unloaded}
    hand.take(unloaded)
    await turns()
    put_off = [one.job_id for one in executing.settled]
    for event in executing.unloaded.values():
        event.set()
    await turns()

    assert put_off == [flight.claim.job_id for flight in unloaded[2:]]
    assert executing.started == [flight.claim.job_id for flight in unloaded[:2]]


async def test_a_claim_that_is_given_back_loads_its_certificates_no_longer(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [flight] = certified(flights(clock, 1))
    executing.unloaded = {flight.claim.job_id: asyncio.Event()}
    hand.take([flight])
    await turns()
    hand.recall(flight.claim.job_id)
    await turns()

    assert [one.job_id for one in executing.settled] == [flight.claim.job_id]
    assert (len(hand), executing.started) == (0, [])
    assert not list(hand.ready.cleared())


async def test_a_claim_that_is_recalled_on_its_way_leaves_no_loading_behind(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    [flight] = certified(flights(clock, 1))
    hand.recall(flight.claim.job_id)
    hand.take([flight])  # and cancels the task before its first step
    await turns()

    [holder] = [one for one in hand.ready.holders if isinstance(one, certificates.Certificates)]
    assert holder.loading == {}


async def test_a_claim_waits_for_a_name_once_whatever_comes_of_it(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["never"] = asyncio.Event()
    hand.take(flights(clock, 1, host="never"))
    await turns()
    waiting = len(executing.started)
    naming.unknown["never"].set()
    await turns()

    assert (waiting, executing.started) == (0, [UUID(int=1)])


async def test_what_waits_for_names_does_not_keep_others_from_being_claimed(
    hand: Dispatcher, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    hand.take(flights(clock, 20, host="silent"))
    await turns()

    assert (hand.room(), hand.waiting, hand.settling) == (10, 20, 0)
    naming.unknown["silent"].set()


async def test_more_of_one_silent_name_than_may_wait_come_later(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    hand.take(flights(clock, MAX_FOR_A_NAME + 5, host="silent"))
    await turns()

    assert hand.waiting == MAX_FOR_A_NAME
    assert len(executing.settled) == 5
    assert all(one.next_run is not None and one.next_run > clock.now() for one in executing.settled)
    naming.unknown["silent"].set()


async def test_a_name_of_a_crowd_comes_later(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    naming.crowded.add("silent")
    hand.take(flights(clock, 1, host="silent"))
    await turns()

    assert [one.job_id for one in executing.settled] == [UUID(int=1)]
    assert naming.asked == []
    assert not hand.waiting


async def test_a_name_is_looked_up_while_its_claim_still_sleeps(
    hand: Dispatcher, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["name"] = asyncio.Event()
    hand.take(flights(clock, 1, host="name", due_in=LONG_SECONDS))
    await turns()

    assert naming.asked == ["name"]
    naming.unknown["name"].set()


async def test_a_deleted_job_waits_for_no_name(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    naming.unknown["silent"] = asyncio.Event()
    hand.take(flights(clock, 2, host="silent"))
    await turns()
    hand.recall(UUID(int=1))
    naming.unknown["silent"].set()
    await turns()

    assert [one.job_id for one in executing.settled] == [UUID(int=1)]
    assert executing.started == [UUID(int=2)]


async def test_closing_waits_for_no_name(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock, naming: Naming
) -> None:
    """The fixture would hang if the lookup went on."""
    naming.unknown["silent"] = asyncio.Event()
    hand.take(flights(clock, 3, host="silent"))
    await turns()
    hand.close()
    await turns()

    assert len(executing.settled) == 3
    assert not hand.waiting


async def test_names_of_one_address_share_what_it_gets(
    hand: Dispatcher, executing: Executing, clock: DatabaseClock
) -> None:
    wild = [
        flight
        for number in range(1, 21)
        for flight in flights(clock, 1, first=number, host=f"wild{number}")
    ]
    hand.take([*wild, *flights(clock, 1, first=21)])
    await turns()

    assert executing.started == [*(UUID(int=number) for number in range(1, 10)), UUID(int=21)]
