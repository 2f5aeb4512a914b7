"""Ends pauses when their time is over; the looks tell when that is, so that nobody polls for it."""

import asyncio
from math import inf

from app.core.facts import Faulted
from app.db import pauses
from app.db.claims import Look
from app.db.clock import DatabaseClock
from app.db.isolating import reason
from app.scheduler.notify import Polling

RETRY_SECONDS = 1.0
"""The shortest time between two tries to end the same pauses."""


class PauseEnds:
    """Ends pauses that are over, beside the loop: a trigger of users must not hold up a look."""

    def __init__(self, polling: Polling, clock: DatabaseClock) -> None:
        self.db = polling.db
        self.wakeup = polling.wakeup
        self.observers = polling.observers
        self.tasks = polling.tasks
        self.monotonic = polling.clock
        self.clock = clock
        self.ending: asyncio.Task[None] | None = None
        """The statement under way."""
        self.again_at = 0.0
        """When another try may be made, monotonic seconds."""

    def __repr__(self) -> str:
        return f"<PauseEnds: {'ending' if self.ending else 'waiting'}>"

    def looked(self, look: Look) -> float:
        """End what the look found to be over; return for how many seconds to sleep at most."""
        if look.pause_seconds is None:
            return inf
        if look.pause_seconds > 0:
            return look.pause_seconds
        now = self.monotonic()
        if self.ending is None and now >= self.again_at:
            self.again_at = now + RETRY_SECONDS
            self.ending = self.tasks.create_task(self.end(), name="end pauses")
        return RETRY_SECONDS

    async def end(self) -> None:
        """End pauses and wake the loop; an error is told, and tried again."""
        try:
            if await pauses.end_over(self.db, believed=self.clock.believed()):
                self.again_at = 0.0
        except Exception as error:  # noqa: BLE001 - jobs of others go on
            self.observers.tell(Faulted(where="end pauses", error=reason(error)))
        finally:
            self.ending = None
        if self.again_at == 0:
            self.wakeup.wake()
