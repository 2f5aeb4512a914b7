"""Publishes this instance's promise to poll, so that writers send no notifications, and keeps it.

When to publish and to withdraw it is decided in `app.core.runs.suppression`.
"""

import asyncio
from collections.abc import Coroutine

from app.core.facts import Faulted
from app.core.runs.suppression import (
    PACE_SECONDS,
    PROMISE_SECONDS,
    longest_sleep_seconds,
    publishes,
    withdraws,
)
from app.db import Database
from app.db import suppression as promises
from app.scheduler.doorbell import Doorbell
from app.telemetry import Observers
from app.timers import Monotonic

NEVER = float("-inf")
MAX_PROMISE_SECONDS = 5.0
"""A promise that seems to be in force for longer than this is ignored: it was published before the
database's clock was set back."""


class Pace:
    """How often something happened lately."""

    def __init__(self, now: float) -> None:
        self.total = 0
        self.since = now
        self.per_second = 0.0

    def read(self, total: int, now: float) -> float:
        """Return how many there were a second over the last whole span, given how many ever."""
        elapsed = now - self.since
        if elapsed >= PACE_SECONDS:
            self.per_second = (total - self.total) / elapsed
            self.total, self.since = total, now
        return self.per_second


class Publishing:
    """The promise of one instance; all instants are on the monotonic clock.

    Publishing runs beside the loop: a lock on the row of the doorbell must not hold up a look.
    """

    def __init__(
        self,
        db: Database,
        doorbell: Doorbell,
        observers: Observers,
        *,
        tasks: asyncio.TaskGroup,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.doorbell = doorbell
        self.observers = observers
        self.tasks = tasks
        self.clock = clock
        self.rings = Pace(clock())
        self.finds = Pace(clock())
        self.found = 0
        self.awake_until = NEVER
        self.others_until = NEVER
        self.looked_at = self.clock()
        self.under_way: asyncio.Task[None] | None = None

    def looked(self, *, claimed: int, awake_seconds: float | None) -> None:
        """Note a look that had room, and what it read of the promise in force."""
        now = self.clock()
        self.looked_at = now
        self.found += claimed
        if awake_seconds is not None and awake_seconds <= MAX_PROMISE_SECONDS:
            self.others_until = now + awake_seconds

    def bounded(self, sleep: float) -> float:
        """Promise, renew or withdraw as is due; return the sleep that the promises allow."""
        now = self.clock()
        rings = self.rings.read(self.doorbell.heard, now)
        finds = self.finds.read(self.found, now)
        awake_seconds, looked_ago = self.awake_until - now, now - self.looked_at
        if self.under_way is None:
            if publishes(
                notifications_per_second=rings,
                claims_per_second=finds,
                awake_seconds=awake_seconds,
                looked_ago=looked_ago,
            ):
                self.begin(self.publish())
            elif withdraws(awake_seconds=awake_seconds, looked_ago=looked_ago):
                self.begin(self.withdraw())
        return min(
            sleep,
            longest_sleep_seconds(
                awake_seconds=max(awake_seconds, 0.0) if self.under_way else awake_seconds,
                others_awake_seconds=self.others_until - now,
            ),
        )

    def begin(self, doing: Coroutine[None, None, None]) -> None:
        """Do it beside the loop; one at a time."""
        self.under_way = self.tasks.create_task(doing, name="publish")
        self.under_way.add_done_callback(self.done)

    def done(self, task: asyncio.Task[None]) -> None:
        if self.under_way is task:
            self.under_way = None

    async def publish(self) -> None:
        """Publish the promise; after an error it is kept all the same, as it may be in force."""
        try:
            await promises.publish(self.db, seconds=PROMISE_SECONDS)
        except Exception as error:  # noqa: BLE001 - without it all goes on, with notifications
            self.observers.tell(Faulted(where="publish", error=f"{type(error).__name__}: {error}"))
        self.awake_until = self.clock() + PROMISE_SECONDS

    async def withdraw(self) -> None:
        """Take the promise back: writers notify again, and all others look now."""
        self.awake_until = NEVER
        try:
            await promises.withdraw(self.db)
        except Exception as error:  # noqa: BLE001 - it ends by itself, and others look after that
            self.observers.tell(Faulted(where="publish", error=f"{type(error).__name__}: {error}"))

    async def withdraw_after(self, under_way: asyncio.Task[None]) -> None:
        """Take back what is about to be promised."""
        await asyncio.wait({under_way})
        await self.withdraw()

    def end(self) -> None:
        """Withdraw what is promised, for the instance stops looking."""
        if self.under_way is not None:
            self.begin(self.withdraw_after(self.under_way))
        elif self.awake_until > self.clock():
            self.begin(self.withdraw())
