"""Wakes the loop of this instance: for a notification, a free slot, or a job that comes due."""

import asyncio

from app.timers import Timer, Timers


class Doorbell:
    """A level-triggered bell: a ring that comes while nobody waits is remembered until silenced.

    Silence it before looking, never after: whatever rings during the look must still be heard.
    """

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.rung = asyncio.Event()
        self.timer: Timer | None = None
        self.rings_at = float("inf")
        """Loop time. The timer cannot be asked: uvloop's for the very next turn does not know."""
        self.heard = 0
        """How many notifications came."""

    def hear(self) -> None:
        """Ring for a notification."""
        self.heard += 1
        self.ring()

    def ring(self) -> None:
        """Wake the loop, now or as soon as it would sleep."""
        self.rung.set()

    def ring_in(self, seconds: float) -> None:
        """Ring later, for a job that comes due then; the earliest such ring is kept."""
        at = self.timers.time() + max(seconds, 0.0)
        if self.timer is not None:
            if self.rings_at <= at:
                return
            self.timer.cancel()
        self.timer = self.timers.call_at(at, self.ring_now)
        self.rings_at = at

    def ring_now(self) -> None:
        self.timer = None
        self.ring()

    def silence(self) -> None:
        """Forget the rings so far, timed ones too: the look that follows sees what they meant."""
        self.rung.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    async def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` or until it rings; tell whether it rang."""
        try:
            async with asyncio.timeout(seconds):
                return await self.rung.wait()
        except TimeoutError:
            return False
