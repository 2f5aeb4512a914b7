"""Wakes the poller, and suppresses notifications while this instance polls.

The triggers on `tocsin.jobs` notify instances of jobs that come due soon. Each NOTIFY takes a lock
that all commits of the server share. At a high rate of notifications an instance therefore
announces, in `tocsin.polling`, that it looks at least every 20 ms by itself. While such an
announcement is in force, the triggers send no notification (docs/adr/0027).
"""

import asyncio
from collections.abc import Callable, Coroutine

from app.core.facts import Cause, Faulted
from app.db import Database, polling
from app.telemetry import Observers
from app.timers import Monotonic, Timer, Timers

ANNOUNCED_SECONDS = 1.0
"""How long an announcement is in force: for this long writers send no notification."""
RENEW_SECONDS = 0.5
"""An announcement that has less than this left is renewed."""
GRACE_SECONDS = 1.0
"""How long after the end of an announcement a writer that relied on it may still commit.

The announcing instance polls for this long beyond its announcement. All other instances look once
after that time: should the announcing one have died, the jobs that it would have found are claimed
then.
"""
LOOK_SECONDS = 0.02
"""The longest sleep between two looks of an instance that polls."""
MAX_LOOKED_AGO_SECONDS = 0.1
"""An instance whose last look that had room for any job is longer ago withdraws its announcement:
another instance may have room, and needs the notifications."""
PACE_SECONDS = 0.5
"""The time over which the rates of notifications and of claims are measured."""
MIN_NOTIFICATIONS_PER_SECOND = 100.0
"""The rate of notifications from which an instance polls instead. At lower rates each notification
starts its job at once."""
MIN_CLAIMS_PER_SECOND = 50.0
"""The rate of claims from which an announcement is renewed. Claims are counted, as no notifications
come while an announcement is in force."""
MAX_ANNOUNCED_SECONDS = 5.0
"""An announcement that seems to be in force for longer than this is ignored: the database's clock
was set back after it was made."""
NEVER = float("-inf")
"""An instant before all others, in monotonic seconds."""


class Wakeup:
    """Ends the sleep before the next look: for a notification, a free slot, or a job that is due.

    A wake-up while nothing sleeps is remembered until it is cleared. Clear it before looking, never
    after: a job that is committed during the look must still end the sleep that follows.
    """

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.woken = asyncio.Event()
        """Set by a wake-up, until `clear`."""
        self.timer: Timer | None = None
        """The planned wake-up."""
        self.timer_at = float("inf")
        """When `timer` wakes; uvloop's timer for the very next turn cannot tell."""
        self.notifications = 0
        """How many notifications this instance ever got."""
        self.notified: Callable[[], None] | None = None
        """Called on each notification."""
        self.cause = Cause.TIMER
        """What ended the latest sleep."""
        self.woken_at = timers.time()
        """When that was, by the timers."""

    def __repr__(self) -> str:
        planned = f", planned for {self.timer_at:.3f}" if self.timer is not None else ""
        return f"<Wakeup: {'woken' if self.woken.is_set() else 'asleep'}{planned}>"

    def notify(self) -> None:
        """Wake the poller for a notification."""
        self.notifications += 1
        self.wake(Cause.NOTIFICATION)
        if self.notified is not None:
            self.notified()

    def wake(self, cause: Cause = Cause.ROOM) -> None:
        """Wake the poller, now or as soon as it would sleep."""
        if not self.woken.is_set():
            self.note(cause)
        self.woken.set()

    def note(self, cause: Cause) -> None:
        """Note what ends the sleep, and when."""
        self.cause = cause
        self.woken_at = self.timers.time()

    def woken_seconds(self) -> float:
        """Return how many seconds ago the latest sleep ended."""
        return self.timers.time() - self.woken_at

    def wake_in(self, seconds: float) -> None:
        """Wake the poller later, for a job that comes due then; the earliest wake-up is kept."""
        at = self.timers.time() + max(seconds, 0.0)
        if self.timer is not None:
            if self.timer_at <= at:
                return
            self.timer.cancel()
        self.timer = self.timers.call_at(at, self.on_timer)
        self.timer_at = at

    def on_timer(self) -> None:
        """Wake the poller at the planned instant."""
        self.timer = None
        self.wake(Cause.TIMER)

    def clear(self) -> None:
        """Forget all wake-ups so far, planned ones too: the next look sees what they were for."""
        self.woken.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    async def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` or until woken; return whether a wake-up ended the sleep."""
        try:
            async with asyncio.timeout(seconds):
                return await self.woken.wait()
        except TimeoutError:
            self.note(Cause.TIMER)
            return False


class Pace:
    """The rate at which a count grows, measured over spans of `PACE_SECONDS`."""

    def __init__(self, now: float) -> None:
        self.total = 0
        self.since = now
        self.per_second = 0.0

    def __repr__(self) -> str:
        return f"<Pace: {self.per_second:.1f} a second>"

    def read(self, total: int, now: float) -> float:
        """Return the growth per second over the last whole span.

        `total` is the present count, `now` monotonic seconds.
        """
        elapsed = now - self.since
        if elapsed >= PACE_SECONDS:
            self.per_second = (total - self.total) / elapsed
            self.total, self.since = total, now
        return self.per_second


class Polling:
    """Whether this instance polls, and for how long others do; all instants are monotonic seconds.

    Announcements are written beside the loop: a lock on their row must not hold up a look.
    """

    def __init__(
        self,
        db: Database,
        wakeup: Wakeup,
        observers: Observers,
        *,
        tasks: asyncio.TaskGroup,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.wakeup = wakeup
        self.observers = observers
        self.tasks = tasks
        self.clock = clock
        self.notification_pace = Pace(clock())
        self.claim_pace = Pace(clock())
        self.claimed = 0
        """How many jobs were ever claimed."""
        self.own_until = NEVER
        """The instant until which this instance's announcement is in force."""
        self.others_until = NEVER
        """The instant until which the announcement that the last look read is in force."""
        self.looked_at = clock()
        """When the last look that had room for any job was made."""
        self.writing: asyncio.Task[None] | None = None
        """The statement under way that writes or withdraws an announcement."""

    def __repr__(self) -> str:
        now = self.clock()
        return (
            f"<Polling: announced for {self.own_until - now:.3f} s, "
            f"by others for {self.others_until - now:.3f} s>"
        )

    def looked(self, *, claimed: int, polling_seconds: float | None, has_room: bool = True) -> None:
        """Note a look.

        - `polling_seconds`: how long the announcement that the look read stays in force; None
          without one.
        - `has_room`: whether the look had room for any job, and not for raised ones alone.
        """
        now = self.clock()
        if has_room:
            self.looked_at = now
        self.claimed += claimed
        if polling_seconds is not None and polling_seconds <= MAX_ANNOUNCED_SECONDS:
            self.others_until = now + polling_seconds

    def limit_sleep(self, sleep: float) -> float:
        """Begin to announce, renew or withdraw if called for; return `sleep`, shortened if need be.

        Announcements in force, and those that ended less than `GRACE_SECONDS` ago, limit the sleep.
        """
        now = self.clock()
        notifications = self.notification_pace.read(self.wakeup.notifications, now)
        claims = self.claim_pace.read(self.claimed, now)
        own_seconds, looked_ago = self.own_until - now, now - self.looked_at
        if self.writing is None:
            if should_announce(
                notifications_per_second=notifications,
                claims_per_second=claims,
                own_seconds=own_seconds,
                looked_ago=looked_ago,
            ):
                self.begin(self.announce())
            elif should_withdraw(own_seconds=own_seconds, looked_ago=looked_ago):
                self.begin(self.withdraw())
        return min(
            sleep,
            longest_sleep_seconds(
                own_seconds=max(own_seconds, 0.0) if self.writing else own_seconds,
                others_seconds=self.others_until - now,
            ),
        )

    def begin(self, write: Coroutine[None, None, None]) -> None:
        """Run a statement beside the loop, as `writing`."""
        self.writing = self.tasks.create_task(write, name="announce polling")
        self.writing.add_done_callback(self.on_written)

    def on_written(self, task: asyncio.Task[None]) -> None:
        if self.writing is task:
            self.writing = None

    async def announce(self) -> None:
        """Announce polling; poll even after an error, as the announcement may be in force."""
        try:
            await polling.announce(self.db, seconds=ANNOUNCED_SECONDS)
        except Exception as error:  # noqa: BLE001 - without it all goes on, with notifications
            self.observers.tell(Faulted(where="publish", error=f"{type(error).__name__}: {error}"))
        self.own_until = self.clock() + ANNOUNCED_SECONDS

    async def withdraw(self) -> None:
        """Withdraw the announcement: writers notify again, and all others look now."""
        self.own_until = NEVER
        try:
            await polling.withdraw(self.db)
        except Exception as error:  # noqa: BLE001 - it ends by itself, and others look after that
            self.observers.tell(Faulted(where="publish", error=f"{type(error).__name__}: {error}"))

    async def withdraw_after(self, writing: asyncio.Task[None]) -> None:
        """Withdraw the announcement once the statement that makes it has ended."""
        await asyncio.wait({writing})
        await self.withdraw()

    def end(self) -> None:
        """Withdraw the announcement, as this instance stops looking."""
        if self.writing is not None:
            self.begin(self.withdraw_after(self.writing))
        elif self.own_until > self.clock():
            self.begin(self.withdraw())


def should_announce(
    *,
    notifications_per_second: float,
    claims_per_second: float,
    own_seconds: float,
    looked_ago: float,
) -> bool:
    """Return whether the instance should announce that it polls, or renew its announcement.

    `own_seconds` is how long the instance's own announcement stays in force, negative once it is
    over; `looked_ago` the seconds since the last look that had room for any job.
    """
    if own_seconds > RENEW_SECONDS or looked_ago > MAX_LOOKED_AGO_SECONDS:
        return False
    lasts = own_seconds > -GRACE_SECONDS and claims_per_second >= MIN_CLAIMS_PER_SECOND
    return lasts or notifications_per_second >= MIN_NOTIFICATIONS_PER_SECOND


def should_withdraw(*, own_seconds: float, looked_ago: float) -> bool:
    """Return whether the instance should withdraw its announcement, for want of a free slot."""
    return own_seconds > 0 and looked_ago > MAX_LOOKED_AGO_SECONDS


def longest_sleep_seconds(*, own_seconds: float, others_seconds: float) -> float:
    """Return the longest sleep that the announcements of this instance and of others allow."""
    if own_seconds > -GRACE_SECONDS:
        return LOOK_SECONDS
    if others_seconds > -GRACE_SECONDS:
        return others_seconds + GRACE_SECONDS
    return float("inf")
