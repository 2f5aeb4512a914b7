"""The database's clock, read on this host: the only one that says what time it is."""

from datetime import UTC, datetime
from time import monotonic

DRIFT = 5e-5
"""How fast two clocks may part, seconds per second."""


class DatabaseClock:
    """Estimates the database's clock from its answers, never ahead of it.

    Hosts' wall clocks need not agree with it or with each other. What the database's clock showed
    at the end of an answer is a lower bound of what it shows at the receipt; the best of recent
    bounds is kept. A clock that was set back shows in the next answer: it is then behind what it
    must have been when the question was sent (Cristian's algorithm, one-sided: a job that is late
    by a fraction of a round trip is better than one that is early).
    """

    def __init__(self) -> None:
        self.offset = float("-inf")
        """The database's clock less our monotonic one; before the first answer, long ago."""
        self.observed_at = 0.0

    def observe(
        self, begun_at: datetime, ended_at: datetime, *, sent_at: float, received_at: float
    ) -> None:
        """Learn from one answer; the latter two are monotonic seconds on this host."""
        lower = ended_at.timestamp() - received_at
        upper = begun_at.timestamp() - sent_at
        aged = self.offset - DRIFT * (received_at - self.observed_at)
        self.offset = lower if aged > upper else max(lower, aged)
        self.observed_at = received_at

    def now(self) -> datetime:
        """Return the database's present time, at most a fraction of a round trip behind it."""
        return datetime.fromtimestamp(self.offset + monotonic(), UTC)

    def seconds_until(self, timestamp: float) -> float:
        """Return how long it is until an instant of the database's clock, at least."""
        return timestamp - self.offset - monotonic()
