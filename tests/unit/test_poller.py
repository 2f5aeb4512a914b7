"""How many jobs a look claims, of those that are raised and of the others, and when it sleeps."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import cast
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.runs.claim import Claim
from app.db import Database, claims, raised
from app.db.claims import Look
from app.db.clock import DatabaseClock
from app.db.listener import Session
from app.db.raised import RaisedLook
from app.scheduler.admission import Slots
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.flows import Flows
from app.scheduler.held_claim import HeldClaim
from app.scheduler.isolation import Isolation
from app.scheduler.leases import Orphans
from app.scheduler.look_recovery import GROWTH, LookRecovery
from app.scheduler.next_look import ScanStart
from app.scheduler.notify import Polling, Wakeup
from app.scheduler.poller import Poller
from app.scheduler.raised import ASKED_AGAIN_SECONDS
from app.scheduler.suspects import Suspects
from app.scheduler.sweep import Sweep
from app.telemetry import Observers
from tests.support.claims import some_claim
from tests.support.ticks import ManualTimers, Ticks
from tests.support.waiting import until

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SLOTS = 10
SESSION = cast("Session", None)
"""What is asked of it is answered by `Due`."""
BESIDE = Database.__new__(Database)
"""The pool for looks beside others, whose connections nobody else waits for."""
HEARD: list[Callable[[], None]] = []
"""What connections for looks beside others have called on a notification, the latest last."""


class Holding(Dispatcher):
    """Holds what it is given, and starts none of it."""

    def __init__(self, timers: ManualTimers, *, free: int) -> None:
        self.timers = timers
        self.free = free
        self.slots = Slots(SLOTS, timers.time)
        self.backlogged = asyncio.Event()
        self.claims = {}
        self.closed = False

    @property
    def raised(self) -> int:
        return sum(bool(one.claim.priority) for one in self)

    def room(self) -> int:
        return max(self.free - len(self), 0)

    room_at_once = room

    def room_for_raised(self) -> int:
        return SLOTS - self.raised

    def room_by_rank(self) -> int:
        return max(SLOTS - len(self), 0)

    def take(self, claims: Iterable[HeldClaim]) -> None:
        self.claims.update((held.claim.id, held) for held in claims)


class Due:
    """What the database has that is due: raised jobs, some of them behind usual ones, and these."""

    def __init__(self, *, raised: int, behind: int, usual: int) -> None:
        self.raised = raised
        self.behind = behind
        self.usual = usual
        self.numbers = count(1)

    def claims(self, many: int, *, priority: int) -> list[Claim]:
        return [
            some_claim(job_id=UUID(int=number), execution_id=number, priority=priority)
            for number, _ in zip(self.numbers, range(many), strict=False)
        ]

    async def look_at_raised(self, _: Session, *, limit: int, **__: object) -> RaisedLook:
        found = self.claims(min(limit, self.raised), priority=1)
        self.raised -= len(found)
        return RaisedLook(
            look=some_look(found),
            due=len(found) + self.raised + self.behind,
            next_seconds=None,
        )

    async def look(self, _: Session, *, limit: int, **__: object) -> Look:
        found = self.claims(min(limit, self.usual), priority=0)
        self.usual -= len(found)
        return some_look(found)


def some_look(claims: list[Claim]) -> Look:
    return Look(
        claims=claims,
        wakeup_seconds=None,
        blocked=False,
        unplanned=False,
        polling_seconds=None,
        begun_at=NOON,
        ended_at=NOON,
    )


def poller_of(dispatcher: Holding, ticks: Ticks, tasks: asyncio.TaskGroup) -> Poller:
    db, observers = cast("Database", None), Observers()
    clock = DatabaseClock(clock=ticks)
    isolation = Isolation(db, observers, instance="one", lease_seconds=30.0, clock=ticks)
    orphans = Orphans(isolation, dispatcher, quick=db)
    suspects = Suspects(
        isolation,
        dispatcher,
        orphans,
        clock,
        observers,
        quick=db,
        patient=db,
        kinds=("http",),
        tasks=tasks,
        look_again=lambda: None,
    )
    wakeup = Wakeup(asyncio.get_running_loop())
    scan_start = ScanStart(longest_sleep_seconds=10.0)
    one = Poller(
        instance="one",
        kinds=("http",),
        lease_seconds=30.0,
        longest_sleep_seconds=10.0,
        wakeup=wakeup,
        dispatcher=dispatcher,
        clock=clock,
        monotonic=ticks,
        scan_start=scan_start,
        polling=Polling(db, wakeup, observers, tasks=tasks, clock=ticks),
        recovery=LookRecovery(Sweep(suspects), scan_start),
        flows=Flows(isolation, wakeup),
        claim_raised=BESIDE,
        plan_jobs=lambda: None,
        observers=observers,
    )
    one.left_due = True
    return one


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


async def looks(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, due: Due, *, free: int, many: int
) -> tuple[Holding, list[float]]:
    """Look so many times, ten milliseconds apart; return what is held, and how long each sleeps."""
    monkeypatch.setattr(raised, "look", due.look_at_raised)
    monkeypatch.setattr(claims, "look", due.look)
    dispatcher = Holding(ManualTimers(ticks), free=free)
    async with asyncio.TaskGroup() as tasks:
        one = poller_of(dispatcher, ticks, tasks)
        sleeps = []
        for _ in range(many):
            sleeps.append(await one.look(SESSION))
            ticks.now += 0.01
    return dispatcher, sleeps


async def test_without_room_usual_jobs_before_a_raised_one_are_claimed_up_to_the_slots(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks
) -> None:
    due = Due(raised=0, behind=1, usual=1000)
    held, sleeps = await looks(monkeypatch, ticks, due, free=0, many=50)

    assert len(held) == SLOTS
    assert sleeps[:SLOTS] == [0.0] * SLOTS
    assert min(sleeps[SLOTS:]) > 0.5 * ASKED_AGAIN_SECONDS


async def test_without_room_raised_jobs_are_claimed_beside_the_usual_that_wait(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks
) -> None:
    due = Due(raised=4, behind=1, usual=1000)
    held, sleeps = await looks(monkeypatch, ticks, due, free=0, many=50)

    assert held.raised == 4
    assert len(held) == SLOTS
    assert sleeps[-1] > 0


@pytest.mark.parametrize("raised", [4, 10, 1000])
async def test_a_look_claims_no_more_than_there_is_room_whatever_is_raised(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, raised: int
) -> None:
    due = Due(raised=raised, behind=0, usual=1000)
    held, _ = await looks(monkeypatch, ticks, due, free=SLOTS, many=1)

    assert (len(held), held.raised) == (SLOTS, min(raised, SLOTS))


@asynccontextmanager
async def connection(db: Database, *, told: Callable[[], None]) -> AsyncIterator[Session]:
    assert db is BESIDE
    HEARD.append(told)
    yield SESSION


async def test_a_raised_job_is_claimed_before_a_look_has_ended_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks
) -> None:
    due = Due(raised=0, behind=0, usual=1000)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def look(session: Session, **arguments: int) -> Look:
        asked.set()
        await answered.wait()
        return await due.look(session, **arguments)

    async def has_raised() -> bool:
        return held.raised > 0

    monkeypatch.setattr(raised, "look", due.look_at_raised)
    monkeypatch.setattr(raised, "connection", connection)
    monkeypatch.setattr(claims, "look", look)
    held = Holding(ManualTimers(ticks), free=SLOTS)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        one = poller_of(held, ticks, tasks)
        one.looking = True
        looking = tasks.create_task(one.look(SESSION))
        await asked.wait()

        due.raised = 1
        one.wakeup.notify()
        await until(has_raised, "the raised job is claimed", within=5)
        # From now on that connection hears of others, which the session may not before its answer.
        held.claims.clear()
        due.raised = 1
        one.wakeup.notify()
        looks = one.raised.known.begun
        assert one.raised.known.is_expected
        HEARD[-1]()
        await until(has_raised, "the next one is claimed", within=5)
        assert one.raised.known.begun == looks + 1
        # Where none is expected it leaves them to the session, so as not to ask for each.
        one.raised.known.expected_until = one.raised.known.next_at = float("-inf")
        heard = one.raised.known.heard
        HEARD[-1]()
        assert one.raised.known.heard == heard
        one.wakeup.notify()
        assert one.raised.known.heard == heard + 1
        assert not looking.done()

        answered.set()
        await looking
        held.closed = True
        await one.raised.end()
    assert (len(held), held.raised) == (SLOTS + 1, 1)


@pytest.mark.parametrize("state", ["asleep", "nothing left behind", "everything paused"])
async def test_no_look_is_made_beside_where_none_is_under_way_that_others_wait_for(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, state: str
) -> None:
    async with asyncio.TaskGroup() as tasks:
        one = poller_of(Holding(ManualTimers(ticks), free=SLOTS), ticks, tasks)
        one.looking = state != "asleep"
        one.left_due = state != "nothing left behind"
        one.is_paused = state == "everything paused"

        one.wakeup.notify()

    assert one.raised.beside is None


async def test_looks_that_can_claim_nothing_grow_past_all_slots_until_one_can(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks
) -> None:
    async def isolate(_: Look) -> None:
        pass

    async with asyncio.TaskGroup() as tasks:
        recovery = poller_of(Holding(ManualTimers(ticks), free=SLOTS), ticks, tasks).recovery
        monkeypatch.setattr(recovery.suspects, "isolate_suppressed", isolate)
        found = some_look([some_claim()])

        limits = [limit := 1]
        while limit < 100 * SLOTS:
            recovery.looked(replace(found, claims=[], suppressed=[UUID(int=1)]), limit=limit)
            limits.append(limit := recovery.least)
        recovery.looked(replace(found, suppressed=[UUID(int=1)]), limit=limit)

    assert limits == [GROWTH**n for n in range(len(limits))]
    assert recovery.least == 0
