"""Time as an argument: what tells the time, and what calls back later, is given to its user.

In production both are the event loop and `time.monotonic`; tests give clocks that they set.
"""

from collections import defaultdict
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


class SharedTimers:
    """Timers of which few are left when their time comes, such as those of time-outs.

    One timer of the event loop serves all that are due within the same second. Those that are left
    when that second begins get timers of their own. A timer of uvloop costs more than the rest of a
    time-out.
    """

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.seconds: defaultdict[int, set[SharedTimer]] = defaultdict(set)
        """The timers that are due within each second, of those that have not begun."""

    def __repr__(self) -> str:
        return f"<SharedTimers: {sum(map(len, self.seconds.values()))} for later>"

    def call_at(self, when: float, callback: Callable[[], object]) -> "SharedTimer":
        """Plan a callback for an instant of the clock of `timers`."""
        timer = SharedTimer(self, callback)
        timer.set(when)
        return timer

    def sharing(self, when: float) -> "set[SharedTimer] | None":
        """Return the timers that are due within the second of an instant; None once it began."""
        second = int(when)
        if second <= self.timers.time():
            return None
        if second not in self.seconds:
            self.timers.call_at(second, lambda: self.begin(second))
        return self.seconds[second]

    def begin(self, second: int) -> None:
        """Give timers of their own to those that are due within the second that begins."""
        for one in self.seconds.pop(second):
            one.timer = self.timers.call_at(one.when, one.callback)


class SharedTimer:
    """A callback that is planned by `SharedTimers`, once or time and again."""

    __slots__ = ("callback", "shared", "sharing", "timer", "when")

    def __init__(self, shared: SharedTimers, callback: Callable[[], object]) -> None:
        self.shared = shared
        self.callback = callback
        self.when = 0.0
        self.sharing: set[SharedTimer] | None = None
        """The timers that are due within the same second."""
        self.timer: Timer | None = None
        """A timer of its own, once that second has begun."""

    def set(self, when: float) -> None:
        """Plan the callback for an instant; it is not planned for another one."""
        self.when = when
        self.timer = None
        self.sharing = sharing = self.shared.sharing(when)
        if sharing is None:
            self.timer = self.shared.timers.call_at(when, self.callback)
        else:
            sharing.add(self)

    def cancel(self) -> None:
        """Cancel the callback, if it is planned."""
        if self.timer is not None:
            self.timer.cancel()
        elif self.sharing is not None:
            self.sharing.discard(self)
