"""Time as an argument: what tells the time, and what calls back later, is given to its user.

In production both are the event loop and `time.monotonic`; tests give clocks that they set.
"""

from collections.abc import Callable
from typing import Protocol

Monotonic = Callable[[], float]
"""Returns the present instant in seconds of a clock that is never set back."""


class Timer(Protocol):
    """A callback that is planned."""

    def cancel(self) -> None:
        """Cancel the callback."""
        ...


class Timers(Protocol):
    """Callbacks at instants of a monotonic clock; `asyncio.AbstractEventLoop` has these methods."""

    def time(self) -> float:
        """Return the present instant in seconds, as of the current turn of the event loop."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Plan a callback for an instant."""
        ...

    def call_soon(self, callback: Callable[[], object], /) -> Timer:
        """Plan a callback for the next turn of the event loop."""
        ...
