"""The claims that this instance holds: each starts at its instant, in a slot, and is settled."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from uuid import UUID

from app.core.runs.claim import Settlement
from app.core.runs.transition import deferred, released
from app.db.clock import DatabaseClock
from app.scheduler.admission import DueClaims, Slots
from app.scheduler.carrying_out import CarryingOut
from app.scheduler.endings import Ending
from app.scheduler.held_claim import HeldClaim
from app.scheduler.preparation import Preparation
from app.scheduler.prerequisites import (
    CertificateLoads,
    Decodings,
    NameLookups,
    Names,
    Prerequisite,
    Renderings,
)
from app.scheduler.runner import ClaimRunner
from app.scheduler.settler import Settler
from app.scheduler.shares import STUCK_SECONDS
from app.scheduler.sleeping import Sleeping
from app.timers import Timer, Timers

STARTED_IN_A_TURN = 4
"""The most executions that one call of `dispatch` starts, or with `short_turns` one turn of the
event loop; twice as many while raised claims wait. The rest start in later turns: the first of many
should be on its way before the last one has begun."""
SURPLUS_SECONDS = 0.2
"""If no look has asked for room for this long, due claims beyond the reserve are released; see
`Slots` for the reserve."""


class Dispatcher:
    """Holds the claims of one instance from the look that took them until their settlement.

    A claim sleeps until its instant, waits for a slot (see `DueClaims`), executes and is settled.
    A claim that waits for its instant or a slot has no task: a timer, a slot that gets free, or a
    prerequisite that is met starts it. The task of an execution may go on to the next one.
    """

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        *,
        slots: Slots,
        names: Names,
        runner: ClaimRunner,
        settler: Settler,
        clock: DatabaseClock,
        timers: Timers,
        tasks: asyncio.TaskGroup,
        offer_room: Callable[[], None],
    ) -> None:
        self.slots = slots
        self.runner = runner
        self.settler = settler
        self.clock = clock
        self.timers = timers
        self.tasks = tasks
        self.offer_room = offer_room
        """Called when jobs are worth claiming again after there was no room."""
        self.claims: dict[UUID, HeldClaim] = {}
        """All held claims, by the id of the claimed row."""
        self.carrying = CarryingOut(runner, settler, clock, self.claims)
        self.sleeping = Sleeping(clock)
        self.decodings = Decodings(runner.decode, tasks, resume=self.resume)
        self.prerequisites: tuple[Prerequisite, ...] = (
            NameLookups(names, tasks, resume=self.resume),
            Renderings(runner.render, tasks, resume=self.resume),
            self.decodings,
            CertificateLoads(runner.load, tasks, resume=self.resume),
        )
        self.due = DueClaims(slots, self.prerequisites, defer=self.defer, jitter=random.random)
        self.preparation = Preparation(runner, timers, tasks)
        self.recalls: set[UUID] = set()
        """Rows that were recalled since the last claims were taken, and of which no claim is held:
        the look under way may bring one."""
        self.doubts = asyncio.Event()
        """Set when a lease is to be extended soon: a claim that has started was recalled, or
        `Leases` has to try again."""
        self.closed = False
        self.was_full = False
        """Whether `room` returned 0 when it was last called."""
        self.timer: Timer | None = None
        self.timer_at = float("inf")
        """When `timer` calls, in seconds of `timers`; infinite without one."""
        self.short_turns = False
        """Whether a turn of the event loop starts few executions, however many slots got free in
        it: as many as start together end together, so that turns would stay long, in which a
        notification and a raised job wait. Fewer executions are settled together then, which costs
        Postgres more."""
        self.started = 0
        """How many executions were started since `dispatch` was called, or in this short turn."""
        self.turning = False
        """Whether `turn` is called in the next turn of the event loop."""
        self.backlogged = asyncio.Event()
        """Set when a look left due jobs behind, or had no room for any, see `PastCrowds`."""
        self.emptied = asyncio.Event()
        """Set when the last held claim is forgotten."""

    def __repr__(self) -> str:
        return (
            f"<Dispatcher: {len(self)} claims held, {len(self.sleeping)} asleep, "
            f"{len(self.due)} due, {self.due.unprepared} lack a prerequisite, "
            f"{self.slots.taken} executing, {self.settling} settling"
            f"{', closed' if self.closed else ''}>"
        )

    def __iter__(self) -> Iterator[HeldClaim]:
        return iter(tuple(self.claims.values()))

    def __len__(self) -> int:
        return len(self.claims)

    @property
    def waiting(self) -> int:
        """How many claims have not started."""
        return len(self.sleeping) + len(self.due) + self.due.unprepared

    @property
    def settling(self) -> int:
        """How many claims are being settled."""
        return len(self.claims) - self.slots.taken - self.waiting

    def room(self) -> int:
        """Return how many jobs to claim now; after 0, `offer_room` is called once there is room."""
        self.slots.update_pace()
        self.was_full = (demand := self.demand()) <= 0
        return max(demand, 0)

    def room_at_once(self) -> int:
        """Return how many due jobs could start now: claims that sleep need no slot yet."""
        due = len(self.due) + self.decodings.counted(self.slots.size)
        return max(self.slots.demand_at_once(due=due, settling=self.settling), 0)

    def room_for_raised(self) -> int:
        """Return how many jobs to claim although `room` is 0, as some of a raised priority are due.

        As many as there are slots, less the raised claims that have not started.
        """
        waiting = sum(1 for one in self if one.claim.priority and not one.started)
        return max(self.slots.demand_for_next_slots(waiting=waiting, settling=self.settling), 0)

    def room_by_rank(self) -> int:
        """Return how many to claim although `room` is 0: slots and reserve, less waiting claims."""
        waiting = len(self.sleeping) + len(self.due) + self.decodings.counted(self.slots.size)
        waiting -= self.slots.reserve
        return max(self.slots.demand_for_next_slots(waiting=waiting, settling=self.settling), 0)

    def demand(self) -> int:
        """Return how many more jobs are wanted; 0 or a negative number for none."""
        waiting = len(self.sleeping) + len(self.due) + self.decodings.counted(self.slots.size)
        early = bool(self.sleeping) and len(self.sleeping) == waiting and not self.slots.taken
        return self.slots.demand(waiting=waiting, settling=self.settling, early=early)

    def take(self, claims: Iterable[HeldClaim]) -> None:
        """Take claims; each is started as soon as it is due and there is a slot for its host."""
        taken = list(claims)
        for held in taken:
            id = held.claim.id
            if (earlier := self.claims.get(id)) is not None:
                earlier.cut(Ending.LEASE)  # its lease was taken away, or ended unnoticed
            self.claims[id] = held
            for prerequisite in self.due.prerequisites_of(held):
                prerequisite.expect(held)
        self.wake()
        for held in self.sleeping.add(taken):
            self.due.add(held)
        recalls, self.recalls = self.recalls, set()
        for id in recalls & self.claims.keys():
            self.recall(id)
        self.dispatch()

    def recall(self, id: UUID) -> None:
        """Release the claim of a row that was edited or deleted, unless it has started.

        A claim that the look under way brings is released when it is taken. If the claim has
        started, its lease is extended soon, to find out whether the edit took it away.
        """
        held = self.claims.get(id)
        if held is None:
            self.recalls.add(id)
        elif not held.started:
            self.sleeping.remove(held)
            self.due.remove(held)
            self.release(held)
        else:
            held.doubted = True
            self.doubts.set()
            if held.edited is not None:
                held.edited.set()

    def dispatch(self) -> None:
        """Start up to `STARTED_IN_A_TURN` due claims that have a slot, the rest in later turns."""
        if self.closed:
            self.release_all()
            return
        self.wake()
        if self.sleeping and not self.due:
            self.preparation.prepare(self.sleeping.first, seconds=self.sleeping.seconds())
        if not self.short_turns:
            self.started = 0
        while self.started < STARTED_IN_A_TURN * (2 if self.due.raised else 1):
            if (held := self.start_next()) is None:
                self.set_timer()
                return
            self.started += 1
            if self.short_turns:
                self.turn_soon()
            self.tasks.create_task(self.execute(held), name="execute")
        self.turn_soon()

    def wake(self) -> None:
        """Add the claims that have come due in their sleep to the due ones."""
        for held in self.sleeping.take_due():
            self.due.add(held)

    def start_next(self) -> HeldClaim | None:
        """Give a slot to the next due claim that may have one; return that claim, or None."""
        held = self.due.take_next()
        if held is not None:
            self.slots.grant(held.host, held.addresses)
            held.started = True
            self.preparation.started_at = self.timers.time()
        return held

    def turn_soon(self) -> None:
        """Have `turn` called in the next turn of the event loop."""
        if not self.turning:
            self.turning = True
            self.timers.call_soon(self.turn)

    def turn(self) -> None:
        """Count `started` from 0, dispatch again, and offer room if there is any.

        This is another turn of the event loop. What many executions and settlements that end in
        one turn leave is looked at once, as that takes longer than all else that is done of each.
        """
        self.turning = False
        self.started = 0
        self.dispatch()
        if self.was_full and self.demand() > 0:
            self.was_full = False
            self.offer_room()

    def resume(self, claims: Iterable[HeldClaim]) -> None:
        """Dispatch claims whose prerequisite was waited for, before all others in the queue.

        A prerequisite that could not be met, such as a name without an address, does not matter
        here: the execution meets the same error, and reports it.
        """
        self.due.resume(claims)
        self.dispatch()

    def set_timer(self) -> None:
        """Set the timer to when the next claim is due or to be prepared.

        While due claims wait for a slot, the timer calls after `STUCK_SECONDS` at the latest: by
        then the host that they wait for may count as stuck.
        """
        seconds = STUCK_SECONDS if self.due else float("inf")
        if self.sleeping:
            early = self.preparation.early_seconds(self.sleeping.first)
            seconds = min(seconds, max(self.sleeping.seconds() - early, 0.0))
        at = self.timers.time() + seconds
        if at < self.timer_at:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.timers.call_at(at, self.on_timer)
            self.timer_at = at

    def on_timer(self) -> None:
        """Dispatch, then release claims that have waited for too long (`release_surplus`)."""
        self.timer_at = float("inf")
        self.dispatch()
        self.release_surplus()

    async def execute(self, first: HeldClaim) -> None:
        """Execute a claim in the slot that was granted, and settle it; then those that follow.

        The slot is passed on to the next due claim in the same task, as a task costs more than the
        rest of what is done here.
        """
        held: HeldClaim | None = first
        while held is not None:
            began_at = self.timers.time()
            settlement = await self.carrying.work_on(held)
            self.slots.take_back(held.host, held.addresses)
            following = self.follow(began_at)
            if self.was_full:
                self.turn_soon()
            self.settle(held, settlement)
            held = following

    def follow(self, began_at: float) -> HeldClaim | None:
        """Pass a slot on that got free; return the claim to execute in the same task, if any.

        `began_at`: when the execution before began, by the timers. If it took no turn of the event
        loop, the next one starts in another turn: many in a row would hold up everything else.
        """
        if self.closed or self.short_turns or self.timers.time() <= began_at:
            if self.due:
                self.dispatch()
            return None
        held = self.start_next()
        if held is not None or self.due:
            self.turn_soon()  # the slot may allow others, of hosts that had their share
        return held

    def defer(self, held: HeldClaim, seconds: float) -> None:
        """Release a claim that would have to wait for long, to be claimed again in `seconds`."""
        until = self.clock.now() + timedelta(seconds=seconds)
        self.release(held, deferred(held.claim, until=until))

    def release(self, held: HeldClaim, settlement: Settlement | None = None) -> None:
        """Settle a claim that will not start here.

        By default the claim is `released`: any instance may claim the job again at once.
        """
        held.started = True  # in no queue any more: a recall has nothing to take out
        self.settle(held, settlement or released(held.claim))

    def release_surplus(self) -> None:
        """Release the due claims beyond the reserve, after `SURPLUS_SECONDS` without a look.

        Executions then take longer than when the reserve was set, and other instances may have
        slots free.
        """
        if self.slots.counted_seconds < SURPLUS_SECONDS:
            return  # looks go on, or it is too early to tell
        self.slots.update_pace()
        for held in self.due.take_surplus(self.slots.reserve):
            self.release(held)

    def release_all(self) -> None:
        """Release every claim that has not started."""
        for held in (*self.sleeping, *self.due.take_all()):
            self.release(held)
        self.sleeping.clear()

    def settle(self, held: HeldClaim, settlement: Settlement) -> None:
        """Hand a settlement to the settler; the claim is forgotten once Postgres has taken it."""
        self.settler.settle(held.claim, settlement, partial(self.forget, held))

    def forget(self, held: HeldClaim) -> None:
        """Forget a claim that is settled; a newer claim of the same job, if there is one, stays."""
        if self.claims.get(held.claim.id) is held:
            del self.claims[held.claim.id]
            if not self.claims:
                self.emptied.set()
        if self.was_full:
            self.turn_soon()

    def close(self) -> None:
        """Start no more claims, and release every claim that has not started."""
        self.closed = True
        self.release_all()

    async def wait_until_empty(self) -> None:
        """Wait until every claim is settled."""
        while self.claims:
            self.emptied.clear()
            await self.emptied.wait()
