"""Looks for jobs of a raised priority: before looks at others, and beside one that is under way."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from app.core.facts import Faulted, Looked
from app.db import Database, raised
from app.db.clock import DatabaseClock
from app.db.database import Runner
from app.db.isolating import may_be_about_a_row, reason
from app.scheduler.held_claim import HeldClaim
from app.scheduler.leases import tell_lost
from app.scheduler.look_recovery import LookRecovery
from app.scheduler.next_look import ScanStart
from app.scheduler.notify import Polling, Wakeup
from app.scheduler.raised import FEW, RaisedJobs
from app.timers import Monotonic

BESIDE_SECONDS = 0.2
"""How long a statement of a look beside another one may take until Postgres cancels it; usually it
takes a millisecond. The session of one that goes on is ended half a second later."""
KEPT_SECONDS = 5.0
"""For how long a connection is kept for the next look beside another one."""
REST_SECONDS = 10.0
"""For how long none is made after one that failed: those of the session find what is to blame."""


class RaisedLooks:
    """Claims due jobs of a raised priority that go before all others.

    The answer of a look at many jobs is read some turns of the event loop after it came. What is
    notified of meanwhile is looked for beside it, on another connection.
    """

    def __init__(  # noqa: PLR0913 - the parts of an instance
        self,
        recovery: LookRecovery,
        *,
        scan_start: ScanStart,
        clock: DatabaseClock,
        monotonic: Monotonic,
        wakeup: Wakeup,
        polling: Polling,
        db: Database,
        is_behind: Callable[[], bool],
    ) -> None:
        self.recovery = recovery
        self.suspects = recovery.suspects
        self.isolation = recovery.isolation
        self.dispatcher = recovery.suspects.dispatcher
        self.observers = recovery.observers
        self.scan_start = scan_start
        self.clock = clock
        self.monotonic = monotonic
        self.wakeup = wakeup
        self.polling = polling
        self.known = RaisedJobs(monotonic=monotonic, limit_sleep=polling.limit_sleep)
        self.db = db
        """A pool for looks beside others: nobody waits for its connection, however long it is kept.
        """
        self.is_behind = is_behind
        """Whether a look is under way, or to begin at once, that others have to wait for."""
        self.told = asyncio.Event()
        """Set when a notification came that may be of a raised job, or to end `beside`."""
        self.beside: asyncio.Task[None] | None = None
        """Runs `look_beside`."""
        self.hears_beside = False
        """Whether the connection of `beside` hears notifications, also during looks."""
        self.resting_until = float("-inf")
        """Until when no look is made beside another one, monotonic seconds."""

    def __repr__(self) -> str:
        return f"<RaisedLooks: {self.known}{', one beside' if self.beside else ''}>"

    async def claim(self, session: Runner, room: int) -> tuple[int, int]:
        """Claim due jobs of a raised priority, if there may be any, by the session of looks.

        Return how many, and how many to claim in a look by priority: `FEW` or more are due, jobs
        without a priority have an earlier rank, or the look for these alone failed.
        """
        if self.known.next_seconds() > 0:
            return 0, 0
        limit = min(room, FEW)
        try:
            with self.recovery.watch:
                return await self.look(session, limit)
        except Exception as error:
            if not may_be_about_a_row(error):
                raise
            await self.recovery.free_found(session, error)
            return 0, limit

    async def look(self, session: Runner, limit: int) -> tuple[int, int]:
        """Look for jobs of a raised priority, and give the claims to the dispatcher."""
        asked_at = self.monotonic()
        number = self.known.begin()
        with self.suspects.orphans.claiming():
            found = await raised.look(
                session,
                limit=limit,
                lease_seconds=self.isolation.lease_seconds,
                kinds=self.suspects.kinds,
                instance=self.isolation.instance,
                since=self.scan_start.since(asked_at),
                believed=self.clock.believed(),
                aside=self.isolation.aside(),
            )
        look, answered_at = found.look, self.monotonic()
        self.known.found(found, at=asked_at, number=number)
        self.dispatcher.short_turns = self.known.is_expected
        self.clock.observe(look.begun_at, look.ended_at, sent_at=asked_at, received_at=answered_at)
        tell_lost(look, self.observers)
        lease_ends = asked_at + self.isolation.lease_seconds
        self.dispatcher.take(HeldClaim(claim, lease_ends=lease_ends) for claim in look.claims)
        if look.claims:
            self.polling.looked(claimed=len(look.claims), polling_seconds=None, has_room=False)
            self.observers.tell(
                Looked(
                    claimed=len(look.claims),
                    sleep_seconds=0.0,
                    cause=self.wakeup.cause,
                    took_seconds=answered_at - asked_at,
                    woken_seconds=self.wakeup.woken_seconds(),
                )
            )
        claimed = len(look.claims)
        left = limit if found.due >= limit == FEW else min(max(found.due - claimed, 0), limit)
        return claimed, left

    def hear(self) -> None:
        """Hear of a notification: it may be of a raised job, which is then looked for at once."""
        if self.hears_beside and self.known.is_expected:
            return
        self.known.hear()
        if not self.is_behind() or self.monotonic() < self.resting_until:
            return
        self.told.set()
        if self.beside is None and not self.dispatcher.closed:
            self.beside = self.suspects.tasks.create_task(self.look_beside(), name="look beside")

    def hear_beside(self) -> None:
        """Hear of a notification by the connection of `beside`, while raised jobs are expected.

        For others the database would be asked more often than looks end. It lasts a second longer
        than `hear` leaves them to this, as the session may have heard of the same one before.
        """
        now = self.monotonic()
        if self.known.is_expected_at(now) or self.known.is_expected_at(now - 1.0):
            self.known.hear()
            self.told.set()

    async def look_beside(self) -> None:
        """Look once for each time that `told` is set; end `KEPT_SECONDS` after the last one.

        Never raises: an error here is told, and looks of the session go on.
        """
        try:
            async with raised.connection(self.db, told=self.hear_beside) as connection:
                self.hears_beside = True
                while await self.is_told():
                    limit = min(self.dispatcher.room_for_raised(), FEW)
                    # The session may have looked meanwhile.
                    if limit > 0 and self.is_behind() and self.known.next_seconds() <= 0:
                        await self.look(connection, limit)
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="look beside", error=reason(error)))
            self.resting_until = self.monotonic() + REST_SECONDS
            self.known.failed()
            self.wakeup.wake()
            with suppress(Exception):  # without a database: found when a session is opened
                await self.suspects.orphans.free_later(self.isolation.db)
        finally:
            if self.hears_beside:
                self.hears_beside = False
                self.known.hear()  # the session may have heard what this connection has not yet
            self.beside = None

    async def is_told(self) -> bool:
        """Wait until `told` is set; return False after `KEPT_SECONDS`, and once no more starts."""
        if self.dispatcher.closed:
            return False
        try:
            async with asyncio.timeout(KEPT_SECONDS):
                await self.told.wait()
        except TimeoutError:
            return False
        self.told.clear()
        return not self.dispatcher.closed

    async def end(self) -> None:
        """Let a look that is made beside others end; once the dispatcher is closed, none begins."""
        self.told.set()
        if self.beside is not None:
            await asyncio.wait({self.beside})
