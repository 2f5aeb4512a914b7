"""What tells the time and calls back later: the event loop, or a test that moves its time."""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is planned."""

    def cancel(self) -> None:
        """Have it not called any more."""
        ...


class Timers(Protocol):
    """Seconds of a monotonic clock, and callbacks by it; `asyncio.AbstractEventLoop` is one."""

    def time(self) -> float:
        """The present instant."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Plan a callback."""
        ...
