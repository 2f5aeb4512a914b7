"""A clock that stands still until it is set, and timers by it."""

import asyncio
from collections.abc import Callable

TURNS = 20
"""Turns of the event loop that are enough for all callbacks that are due."""
CALL_SECONDS = 1e-5
"""How long each callback seems to take, so that code which waits for an instant reaches it."""


class Ticks:
    """Seconds, as `monotonic` counts them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class ManualTimer:
    """A callback, until it is called or cancelled."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualTimers:
    """Timers by a clock that a test moves on; a callback is called when its time is reached."""

    def __init__(self, ticks: Ticks) -> None:
        self.ticks = ticks
        self.planned: list[ManualTimer] = []

    def time(self) -> float:
        return self.ticks.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> ManualTimer:
        timer = ManualTimer(when, callback)
        self.planned.append(timer)
        return timer

    def call_soon(self, callback: Callable[[], object], /) -> asyncio.Handle:
        return asyncio.get_running_loop().call_soon(callback)

    async def advance(self, seconds: float) -> None:
        """Move the clock on, and call the callbacks that become due on the way."""
        end = self.ticks.now + seconds
        while due := [one for one in self.planned if not one.is_cancelled and one.when <= end]:
            timer = min(due, key=lambda one: one.when)
            self.planned.remove(timer)
            self.ticks.now = max(self.ticks.now + CALL_SECONDS, timer.when)
            timer.callback()
            await turns()
        self.ticks.now = max(self.ticks.now, end)
        await turns()


async def turns() -> None:
    """Let the event loop turn `TURNS` times, enough for all callbacks that are due."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
