"""The loop of one instance: forget wake-ups, look, hand the claims to the dispatcher, sleep."""

import asyncio
import random
from collections.abc import Callable

from app.core.facts import Connected, Looked
from app.db import Database, claims
from app.db.claims import Look
from app.db.clock import DatabaseClock
from app.db.flood_guard import FLOOD_SLEEP_SECONDS
from app.db.isolating import may_be_about_a_row
from app.db.listener import Session
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.flow_looks import FlowLooks
from app.scheduler.flows import Flows
from app.scheduler.held_claim import HeldClaim
from app.scheduler.leases import tell_lost
from app.scheduler.look_recovery import MAX_LOOK_SECONDS, LookRecovery
from app.scheduler.next_look import ScanStart, sleep_seconds
from app.scheduler.notify import Polling, Wakeup
from app.scheduler.pauses import PauseEnds
from app.scheduler.raised_looks import RaisedLooks
from app.telemetry import Observers
from app.timers import Monotonic

BATCH = 500
"""The most jobs that one look claims."""
AHEAD_SECONDS = 0.25
"""Jobs are claimed up to so long before their instants, so that no start waits for Postgres. The
claim of a job that is edited or deleted in between is released."""
MIN_SLEEP_SECONDS = 0.02
"""Seconds of the sleep after a look all of whose claims were suppressed, and of the first one
after a look that passed a due job over; see `sleep_seconds` for the next ones."""
JITTER = 0.1
"""The longest sleep is shortened by a random share of it, from 0 to this, so that instances do not
look at the same moment."""


class Poller:
    """Claims due jobs and hands them to the dispatcher, over one session after the other."""

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        *,
        instance: str,
        kinds: tuple[str, ...],
        lease_seconds: float,
        longest_sleep_seconds: float,
        wakeup: Wakeup,
        dispatcher: Dispatcher,
        clock: DatabaseClock,
        monotonic: Monotonic,
        scan_start: ScanStart,
        polling: Polling,
        recovery: LookRecovery,
        flows: Flows,
        claim_raised: Database,
        plan_jobs: Callable[[], None],
        observers: Observers,
    ) -> None:
        self.instance = instance
        self.kinds = kinds
        self.lease_seconds = lease_seconds
        self.longest_sleep_seconds = longest_sleep_seconds
        self.wakeup = wakeup
        self.dispatcher = dispatcher
        self.clock = clock
        self.monotonic = monotonic
        self.scan_start = scan_start
        self.polling = polling
        self.pause_ends = PauseEnds(polling, clock)
        self.recovery = recovery
        self.flows = FlowLooks(flows, recovery, clock=clock)
        self.raised = RaisedLooks(
            recovery,
            scan_start=scan_start,
            clock=clock,
            monotonic=monotonic,
            wakeup=wakeup,
            polling=polling,
            db=claim_raised,
            is_behind=lambda: self.left_due and self.looking and not self.is_paused,
        )
        wakeup.notified = self.raised.hear
        self.plan_jobs = plan_jobs
        """Wakes the planner, for jobs that were written in SQL."""
        self.observers = observers
        self.is_paused = False
        """Whether everything was paused at the last look."""
        self.blocked_looks = 0
        """How many looks in a row claimed nothing and passed a due job over, see
        `sleep_seconds`."""
        self.left_due = False
        """Whether the last look left due jobs: raised ones are then claimed first."""
        self.looking = False
        """Whether a look is under way, or to begin at once."""
        self.lost_at: float | None = None
        """When the latest session was lost, monotonic seconds; None while one lasts."""

    def __repr__(self) -> str:
        return f"<Poller of {self.instance}: {self.scan_start}, {self.blocked_looks} blocked looks>"

    async def look_until(self, stopping: asyncio.Event, session: Session) -> None:
        """Look and sleep by turns until `stopping` is set.

        Raises:
            DatabaseUnavailable: the session is lost; executions under way go on.
        """
        connected = False
        self.dispatcher.runner.note_absence()
        self.scan_start.forget()  # what happened meanwhile is not known
        self.flows.known.scan_wanted.set()
        await session.limit(MAX_LOOK_SECONDS)
        while not stopping.is_set():
            await session.listen()  # again, where a flood of notifications has ended that
            self.wakeup.clear()  # before the claim: a job committed meanwhile must still wake it
            self.looking = True
            try:
                sleep = await self.look(session)
            finally:
                self.looking = False
            if not session.is_listening:
                sleep = min(sleep, FLOOD_SLEEP_SECONDS)
            if not connected:
                connected = True
                self.tell_connected()
            if not stopping.is_set():
                await self.wakeup.wait(sleep)

    async def look(self, session: Session) -> float:
        """Claim due jobs for the dispatcher; return for how many seconds to sleep."""
        self.dispatcher.short_turns = self.raised.known.is_expected
        limit, ahead_seconds = min(self.dispatcher.room(), BATCH), AHEAD_SECONDS
        if limit == 0:  # what is held for later must not hold up what is due
            limit, ahead_seconds = self.dispatcher.room_at_once(), 0.0
        if limit == 0:
            self.dispatcher.backlogged.set()
            self.flows.hand_over()
            return await self.look_at_raised(session)  # a freed slot wakes it for the others
        left = 0
        if self.left_due:
            claimed, left = await self.claim_raised(session, limit)
            limit -= claimed
            if self.raised.known.is_expected and left == 0 and limit > 0:
                await asyncio.sleep(0)  # what came with that answer is heard by then
                claimed, left = await self.claim_raised(session, limit)
                limit -= claimed
            limit = self.raised.known.short(limit)
        if limit > 0 and self.flows.are_due and not self.is_paused:
            limit -= await self.flows.look(
                session, limit=limit, ahead_seconds=ahead_seconds, left_due=self.left_due
            )
        if limit <= 0:
            return 0.0
        return await self.look_at_jobs(session, limit, ahead_seconds, by_priority=left > 0)

    async def look_at_raised(self, session: Session) -> float:
        """Claim due jobs of a raised priority although there is no room for others.

        Return for how many seconds to sleep. Jobs without a priority whose rank is earlier are
        claimed before these, as far as there is `Dispatcher.room_by_rank`.
        """
        room = 0 if self.is_paused else self.dispatcher.room_for_raised()
        if room == 0:
            return self.polling.limit_sleep(self.longest_sleep_seconds)
        claimed, left = await self.claim_raised(session, room)
        if (limit := min(left, room - claimed, self.dispatcher.room_by_rank())) > 0:
            return await self.look_at_jobs(session, limit, 0.0, by_priority=True, has_room=False)
        seconds = self.raised.known.next_seconds()
        if left and not claimed:  # others go before these, for which there is no room
            seconds = self.raised.known.again_seconds()
        return self.polling.limit_sleep(min(seconds, self.longest_sleep_seconds))

    async def claim_raised(self, session: Session, room: int) -> tuple[int, int]:
        """Claim due jobs of a raised priority, see `RaisedLooks`, unless everything is paused."""
        return (0, 0) if self.is_paused else await self.raised.claim(session, room)

    async def look_at_jobs(
        self,
        session: Session,
        limit: int,
        ahead_seconds: float,
        *,
        by_priority: bool = False,
        has_room: bool = True,
    ) -> float:
        """Claim up to `limit` due jobs without a flow; return for how many seconds to sleep.

        `LookRecovery.least` jobs are claimed if that is more, `BATCH` at most. `has_room`: whether
        there is room for jobs of the usual priority.
        """
        limit = min(max(limit, self.recovery.least), BATCH)
        asked_at = self.monotonic()
        self.scan_start.behind = behind = self.recovery.sweep.behind
        since = self.scan_start.since(asked_at)
        try:
            with self.recovery.watch, self.recovery.claiming():
                look = await claims.look(
                    session,
                    limit=limit,
                    ahead_seconds=ahead_seconds,
                    lease_seconds=self.lease_seconds,
                    kinds=self.kinds,
                    instance=self.instance,
                    since=since,
                    believed=self.clock.believed(),
                    aside=self.recovery.isolation.aside(),
                    by_priority=by_priority,
                )
        except Exception as error:
            if not may_be_about_a_row(error):
                raise
            return await self.recovery.look_past(
                session,
                error,
                limit=limit,
                ahead_seconds=ahead_seconds,
                since=since,
                by_priority=by_priority,
            )
        answered_at, woken_seconds = self.monotonic(), self.wakeup.woken_seconds()
        self.clock.observe(look.begun_at, look.ended_at, sent_at=asked_at, received_at=answered_at)
        tell_lost(look, self.observers)
        lease_ends = asked_at + self.lease_seconds
        self.dispatcher.take(HeldClaim(claim, lease_ends=lease_ends) for claim in look.claims)
        if look.claims:
            await asyncio.sleep(0)  # let them start before all that is left to do here
        # What was left for its size is due as well, unless nothing at all can be claimed.
        full = len(look.claims) == limit or (bool(look.claims) and look.left_from is not None)
        self.left_due = full
        if full:
            self.dispatcher.backlogged.set()
        self.scan_start.looked(look, at=asked_at, whole=since == behind, full=full)
        self.note_pause(look)
        self.recovery.looked(look, limit=limit)
        sleep = min(self.sleep_after(look, full=full), self.scan_start.patience(asked_at))
        self.polling.looked(
            claimed=len(look.claims), polling_seconds=look.polling_seconds, has_room=has_room
        )
        if not self.is_paused:
            sleep = min(sleep, self.flows.next_seconds())
        sleep = min(self.polling.limit_sleep(sleep), self.pause_ends.looked(look))
        self.observers.tell(
            Looked(
                claimed=len(look.claims),
                sleep_seconds=sleep,
                cause=self.wakeup.cause,
                took_seconds=answered_at - asked_at,
                woken_seconds=woken_seconds,
            )
        )
        return sleep

    def note_pause(self, look: Look) -> None:
        """Note whether everything is paused; then what is due waits, of flows as well."""
        if look.paused:
            self.scan_start.forget()
        elif self.is_paused:
            self.flows.known.scan_wanted.set()
        self.is_paused = look.paused

    def sleep_after(self, look: Look, *, full: bool) -> float:
        """Return how long to sleep; wake the planner if jobs written in SQL wait for a plan."""
        if full:
            return 0.0  # more may be due
        if look.suppressed:  # more may be due behind those, which the next look leaves out
            return 0.0 if look.claims else MIN_SLEEP_SECONDS
        blocked = look.blocked or look.left_from is not None
        if look.unplanned:
            self.plan_jobs()  # beside the loop too, which is woken for what was planned
            blocked = True
        if look.claims or not blocked:
            self.blocked_looks = 0
        self.blocked_looks += blocked
        wakeup_seconds = look.wakeup_seconds
        if wakeup_seconds is not None and wakeup_seconds > AHEAD_SECONDS:
            # Jittered, so that of several instances one is first and the others find it leased.
            wakeup_seconds -= AHEAD_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311
        return sleep_seconds(
            wakeup_seconds,
            blocked_looks=self.blocked_looks,
            shortest=MIN_SLEEP_SECONDS,
            longest=self.longest_sleep_seconds * random.uniform(1 - JITTER, 1),  # noqa: S311
        )

    def note_loss(self) -> None:
        """Note that the session was lost, or that none could be opened since one was."""
        self.lost_at = self.lost_at or self.monotonic()

    def tell_connected(self) -> None:
        """Tell that the first look on a session has ended, and how long there was no session."""
        away = None if self.lost_at is None else self.monotonic() - self.lost_at
        self.lost_at = None
        self.dispatcher.runner.note_presence()
        self.observers.tell(Connected(instance=self.instance, away_seconds=away))
