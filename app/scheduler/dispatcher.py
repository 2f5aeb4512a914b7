"""The claims in hand: which of them start, and when."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from heapq import heapify, heappop, heappush
from uuid import UUID

from app.core.runs.claim import Settlement
from app.core.runs.transition import deferred, released
from app.db.clock import DatabaseClock
from app.scheduler.certificates import Certificates
from app.scheduler.held_claim import Ending, HeldClaim
from app.scheduler.hosts import STUCK_SECONDS
from app.scheduler.naming import Names, Naming
from app.scheduler.ready import Holder, Ready
from app.scheduler.runner import ClaimRunner
from app.scheduler.slots import Slots
from app.scheduler.timers import Timer, Timers

STARTED_IN_A_TURN = 4
"""Executions started in one turn of the event loop: the first of many should be on its way before
the last one has begun."""
TIMER_SECONDS = 0.001
"""How late the event loop's timers may be. The timer for the next claim is set this much too early;
the rest of the time the loop turns without sleeping."""
SURPLUS_SECONDS = 0.2
"""If no look was made for this long, for want of room, claims beyond the reserve are given back."""
PREPARED_SECONDS = (0.1, 0.003)
"""How long before it is due the next claim is prepared: twice. Code that has not run for seconds
takes 10 ms and more to run again, and part of that after a pause of a tenth of a second."""
AWAKE_SECONDS = 0.02
"""For this long after an execution started, claims are not prepared and timers are not set early:
the code has just run, and both would cost a CPU if done before each of many claims."""


class Dispatcher:
    """Each claim sleeps until its instant, waits for a slot, executes and is settled.

    Only what executes has a task of its own.
    """

    def __init__(
        self,
        slots: Slots,
        clock: DatabaseClock,
        *,
        freed: Callable[[], None],
        timers: Timers | None = None,
    ) -> None:
        """`timers`: those of the event loop by default."""
        self.slots = slots
        self.clock = clock
        self.given_timers = timers
        self.freed = freed
        """Called when it is worth claiming again after there was no room."""
        self.claims: dict[UUID, HeldClaim] = {}
        self.sleeping: list[tuple[float, int, HeldClaim]] = []
        """A heap, by instant and execution: no two claims are of one execution."""
        self.ready = Ready(slots, defer=self.defer)
        self.recalls: set[UUID] = set()
        """Of jobs that are not in hand, since the last claims were taken."""
        self.doubts = asyncio.Event()
        """Set when the lease of one that has started is to be looked at."""
        self.closed = False
        self.starved = False
        self.timer: Timer | None = None
        self.rings_at = float("inf")
        """By the timers."""
        self.turning = False
        self.emptied = asyncio.Event()
        self.started_at = 0.0
        """When the latest execution was, by the timers."""
        self.loop: asyncio.AbstractEventLoop
        self.timers: Timers
        self.execution: ClaimRunner
        self.tasks: asyncio.TaskGroup

    def open(
        self, execution: ClaimRunner, tasks: asyncio.TaskGroup, *, names: Names | None = None
    ) -> None:
        """Set how claims are carried out, and the group for all tasks; call this before `take`.

        With `names`, the names of a claim are looked up before it gets a slot. Its certificates
        are loaded before that in any case.
        """
        self.loop = asyncio.get_running_loop()
        self.timers = self.given_timers or self.loop
        self.execution = execution
        self.tasks = tasks
        holders: list[Holder] = []
        if names is not None:
            holders.append(Naming(names, tasks, named=self.let_go))
        holders.append(Certificates(execution.load, tasks, loaded=self.let_go))
        self.ready.holders = holders

    def __iter__(self) -> Iterator[HeldClaim]:
        return iter(tuple(self.claims.values()))

    def __len__(self) -> int:
        return len(self.claims)

    def room(self) -> int:
        """Return how many jobs to claim now; when 0, `freed` is called once there is room."""
        self.slots.update_pace()
        demand = self.demand
        self.starved = demand <= 0
        return max(demand, 0)

    def room_at_once(self) -> int:
        """Return how many that are due could start now: what sleeps needs no slot yet."""
        return max(self.slots.demand_at_once(due=self.due, settling=self.settling), 0)

    @property
    def due(self) -> int:
        """How many wait for a slot."""
        return len(self.ready)

    @property
    def waiting(self) -> int:
        """How many have not started."""
        return len(self.sleeping) + self.due + self.ready.held

    @property
    def settling(self) -> int:
        """How many are being settled."""
        return len(self.claims) - self.slots.taken - self.waiting

    @property
    def demand(self) -> int:
        waiting = len(self.sleeping) + self.due  # what is held takes no slot
        early = bool(self.sleeping) and len(self.sleeping) == waiting and not self.slots.taken
        return self.slots.demand(waiting=waiting, settling=self.settling, early=early)

    def take(self, flights: Iterable[HeldClaim]) -> None:
        """Take claims; each is started as soon as it is due and there is a slot for its host."""
        for flight in flights:
            claim = flight.claim
            if (earlier := self.claims.get(claim.job_id)) is not None:
                earlier.cut(Ending.LEASE)  # somebody took it away, or it ended unnoticed
            self.claims[claim.job_id] = flight
            heappush(self.sleeping, (claim.next_run.timestamp(), claim.execution_id, flight))
            for holder in self.ready.holders:
                holder.expect(flight)
        recalls, self.recalls = self.recalls, set()
        for job_id in recalls & self.claims.keys():
            self.recall(job_id)
        self.dispatch()

    def recall(self, job_id: UUID) -> None:
        """Give back the claim of a job that was edited or deleted, unless it has started.

        A claim that the look under way brings is given back when it is taken. If the claim has
        started, its lease is extended soon, to find out whether the edit took it away.
        """
        flight = self.claims.get(job_id)
        if flight is None:
            self.recalls.add(job_id)
        elif not flight.started:
            self.sleeping = [one for one in self.sleeping if one[2] is not flight]
            heapify(self.sleeping)
            self.ready.remove(flight)
            self.release(flight)
        else:
            flight.doubted = True
            self.doubts.set()

    def dispatch(self) -> None:
        """Start what is due and has a slot, a few at a time; come back for the rest."""
        if self.closed:
            self.release_all()
            return
        while self.sleeping and self.clock.seconds_until(self.sleeping[0][0]) <= 0:
            self.ready.flights.append(heappop(self.sleeping)[2])
        if self.sleeping and not self.ready:
            self.prepare()
        for _ in range(STARTED_IN_A_TURN):
            flight = self.ready.next(jitter=random.random)
            if flight is None:
                self.come_back()
                return
            self.slots.grant(flight.host, flight.places)
            flight.started = True
            self.started_at = self.timers.time()
            self.tasks.create_task(self.carry_out(flight), name=f"execute {flight.claim.job_id}")
        if not self.turning:
            self.turning = True
            self.loop.call_soon(self.turn)

    @property
    def is_awake(self) -> bool:
        return self.timers.time() - self.started_at < AWAKE_SECONDS

    def prepare(self) -> None:
        """Prepare the next claim in time, unless executions keep everything awake."""
        due, _, flight = self.sleeping[0]
        if flight.prepared == len(PREPARED_SECONDS):
            return
        if self.clock.seconds_until(due) > PREPARED_SECONDS[flight.prepared]:
            return
        flight.prepared += 1
        if not self.is_awake:
            self.tasks.create_task(self.execution.prepare(flight.claim), name="prepare")

    def let_go(self, flights: Iterable[HeldClaim]) -> None:
        """Start what has waited for a name or for certificates; what lacks one fails by itself."""
        self.ready.let_go(flights)
        self.dispatch()

    def turn(self) -> None:
        self.turning = False
        self.dispatch()

    def come_back(self) -> None:
        """Dispatch again when the next claim is due, or when a host may have got stuck."""
        seconds = STUCK_SECONDS if self.ready else float("inf")
        if self.sleeping:
            # The rest is spent turning: a timer may be late by as much, and then has to wake a CPU.
            due, _, flight = self.sleeping[0]
            turning = 0.0 if self.is_awake else TIMER_SECONDS
            early = (*PREPARED_SECONDS, turning)[flight.prepared]
            seconds = min(seconds, max(self.clock.seconds_until(due) - early, 0.0))
        at = self.timers.time() + seconds
        if at < self.rings_at:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.timers.call_at(at, self.ring)
            self.rings_at = at

    def ring(self) -> None:
        self.rings_at = float("inf")
        self.dispatch()
        self.release_surplus()

    def release_surplus(self) -> None:
        """Give back claims beyond the reserve: executions take longer than when it was set."""
        if self.slots.counted_seconds < SURPLUS_SECONDS:
            return  # looks go on, or it is too early to tell
        self.slots.update_pace()
        for flight in self.ready.surplus(self.slots.reserve):
            self.release(flight)

    async def carry_out(self, flight: HeldClaim) -> None:
        """Execute in the slot that was granted, give it to the next, and have it settled."""
        settlement = await self.execution.carry_out(flight)
        self.slots.give(flight.host, flight.places)
        if self.ready:
            self.dispatch()
        self.offer()
        self.settle(flight, settlement)

    def defer(self, flight: HeldClaim, seconds: float) -> None:
        """Make room for others: this one could not start before long."""
        until = self.clock.now() + timedelta(seconds=seconds)
        self.release(flight, deferred(flight.claim, until=until))

    def release(self, flight: HeldClaim, settlement: Settlement | None = None) -> None:
        """Settle a claim that will not start here, by default to be claimed again at once."""
        flight.started = True  # no other end of it is left
        self.settle(flight, settlement or released(flight.claim))

    def settle(self, flight: HeldClaim, settlement: Settlement) -> None:
        self.execution.close(flight.claim, settlement, then=partial(self.drop, flight))

    def close(self) -> None:
        """Start no more: what has not started is given back."""
        self.closed = True
        self.release_all()

    def release_all(self) -> None:
        asleep = [flight for _, _, flight in self.sleeping]
        for flight in (*asleep, *self.ready.cleared()):
            self.release(flight)
        self.sleeping.clear()

    def offer(self) -> None:
        """Ask for claims again, if they were refused for want of room and there is some."""
        if self.starved and self.demand > 0:
            self.starved = False
            self.freed()

    def drop(self, flight: HeldClaim) -> None:
        """Note that a claim is settled; by then the job may be in hand anew."""
        if self.claims.get(flight.claim.job_id) is flight:
            del self.claims[flight.claim.job_id]
            if not self.claims:
                self.emptied.set()
        self.offer()

    async def until_empty(self) -> None:
        """Wait until every claim is settled."""
        while self.claims:
            self.emptied.clear()
            await self.emptied.wait()
