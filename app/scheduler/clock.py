"""The database's clock, read on this host: the only one that says what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

DRIFT = 5e-5
"""How fast two clocks may part, seconds per second."""
STEP_SECONDS = 1.0
"""A clock that is further ahead than it can be was set forward."""
HOLD_SECONDS = 60.0
"""How long a clock has to stay ahead to be believed."""


class DatabaseClock:
    """Estimates the database's clock from its answers, never ahead of it.

    Hosts' wall clocks need not agree with it or with each other. What the database's clock showed
    at the end of an answer is a lower bound of what it shows at the receipt; the best of recent
    bounds is kept. A clock that was set back shows in the next answer: it is then behind what it
    must have been when the question was sent (Cristian's algorithm, one-sided: a job that is late
    by a fraction of a round trip is better than one that is early).

    A clock that was set forward is ahead of the upper bound from before. It may be wrong, and
    believing it can't be undone: it would end leases of executions under way and make due what is
    far off. So time goes on as before until the clock has been ahead for `hold_seconds`, in which
    whoever holds a lease has extended it by the new clock.
    """

    def __init__(
        self,
        *,
        hold_seconds: float = HOLD_SECONDS,
        set_back: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.clock = clock
        self.hold_seconds = hold_seconds
        self.set_back = set_back
        """Called when the clock came back from where it was ahead, believed or not."""
        self.offset = float("-inf")
        """The database's clock less our monotonic one; before the first answer, long ago."""
        self.upper = float("inf")
        """The most that this can be."""
        self.observed_at = 0.0
        self.ahead_since: float | None = None
        """Monotonic seconds of the first of the answers that are ahead; None: the last was not."""

    def observe(
        self, begun_at: datetime, ended_at: datetime, *, sent_at: float, received_at: float
    ) -> None:
        """Learn from one answer; the latter two are monotonic seconds on this host."""
        lower = ended_at.timestamp() - received_at
        upper = begun_at.timestamp() - sent_at
        drift = DRIFT * (received_at - self.observed_at)
        if lower > self.upper + drift + STEP_SECONDS:
            self.ahead_since = received_at if self.ahead_since is None else self.ahead_since
            if received_at - self.ahead_since < self.hold_seconds:
                return
            self.offset, self.upper = lower, upper
        elif self.offset - drift > upper:
            far = self.offset - drift > upper + STEP_SECONDS
            self.offset, self.upper = lower, upper
            if far:
                self.set_back()
        else:
            self.offset = max(lower, self.offset - drift)
            aged = self.upper + drift  # too low by now if the clocks part faster than they should
            self.upper = upper if lower > aged else min(upper, aged)
            if self.ahead_since is not None:
                self.set_back()
        self.ahead_since = None
        self.observed_at = received_at

    def believed(self) -> datetime | None:
        """Return where the database's clock is at most, with a margin; None: nothing is known."""
        if self.upper == float("inf"):
            return None
        drift = DRIFT * (self.clock() - self.observed_at)
        return datetime.fromtimestamp(self.upper + self.clock() + drift + STEP_SECONDS, UTC)

    def now(self) -> datetime:
        """Return the database's present time, at most a fraction of a round trip behind it."""
        return datetime.fromtimestamp(self.offset + self.clock(), UTC)

    def seconds_until(self, timestamp: float) -> float:
        """Return how long it is until an instant of the database's clock, at least."""
        return timestamp - self.offset - self.clock()
