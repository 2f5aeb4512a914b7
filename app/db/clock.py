"""The database's clock, estimated on this host: the only clock by which jobs are planned and run.

Wall clocks of hosts need not agree with the database's clock or with each other.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from app.db.database import Runner

Believed = Callable[[], datetime | None]
"""Returns the latest that the database's clock can show if it is right; None: that is not known."""

DRIFT = 5e-5
"""How fast two clocks may part, in seconds per second."""
STEP_SECONDS = 1.0
"""The least difference that counts as a clock set forward or back, and not as drift."""
HOLD_SECONDS = 60.0
"""The default of `hold_seconds`, for processes that hold no lease. An instance waits for a lease or
for two of its longest sleeps, whichever is longer."""
TRUSTED_SECONDS = 60.0
"""How long a `PolledClock` carries an answer forward before the next question."""


class DatabaseClock:
    """Estimates the database's clock from its answers, and is never ahead of it.

    What the database's clock showed at the end of an answer is a lower bound of what the clock
    shows at the receipt; the best of recent bounds is kept. After a step back the next answer is
    behind the lower bound of when the question was sent, and is believed at once (Cristian's
    algorithm, one-sided: a job that is late by a fraction of a round trip is better than one that
    is early).

    After a step forward an answer is ahead of the upper bound. The step may be a mistake, and to
    believe a mistake cannot be undone: leases of executions under way would end, and jobs planned
    for later would be due. So time goes on as before until the answers have been ahead for
    `hold_seconds`. If that is a lease or more, every holder of a lease has extended the lease by
    the new clock meanwhile.
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
        """Called after a step back, also from a step forward that was not believed yet."""
        self.offset = float("-inf")
        """The database's clock less this host's monotonic one; -inf before the first answer."""
        self.upper = float("inf")
        """The upper bound of the offset."""
        self.observed_at = 0.0
        """Monotonic seconds of the last answer that was believed."""
        self.ahead_since: float | None = None
        """Monotonic seconds of the first of consecutive answers ahead of `upper`; None if none."""

    def __repr__(self) -> str:
        told = self.now().isoformat() if self.offset > float("-inf") else "before the first answer"
        return f"DatabaseClock({told})"

    def observe(
        self, begun_at: datetime, ended_at: datetime, *, sent_at: float, received_at: float
    ) -> None:
        """Learn from one answer, which took from `begun_at` to `ended_at` on the database's clock.

        `sent_at` and `received_at` are monotonic seconds of this host.
        """
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
            aged = self.upper + drift  # too low if the clocks part faster than `DRIFT`
            self.upper = upper if lower > aged else min(upper, aged)
            if self.ahead_since is not None:
                self.set_back()
        self.ahead_since = None
        self.observed_at = received_at

    def believed(self) -> datetime | None:
        """Return an upper bound of the database's clock; None before any answer.

        The bound has a margin: `STEP_SECONDS`, and the drift since the latest answer.
        """
        if self.upper == float("inf"):
            return None
        drift = DRIFT * (self.clock() - self.observed_at)
        return datetime.fromtimestamp(self.upper + self.clock() + drift + STEP_SECONDS, UTC)

    def now(self) -> datetime:
        """Return the database's present time, at most a fraction of a round trip behind it.

        While a step forward is not believed yet, the time is behind by the whole step.

        Raises:
            OverflowError: there was no answer yet, see `believed`.
        """
        return datetime.fromtimestamp(self.offset + self.clock(), UTC)

    def timestamp(self) -> float:
        """Return `now` in Unix seconds; -inf before any answer."""
        return self.offset + self.clock()

    def seconds_until(self, timestamp: float) -> float:
        """Return the most seconds until an instant, given in Unix seconds of the database's clock.

        After a wait of so long the instant has come. Negative for the past, infinite before any
        answer.
        """
        return timestamp - self.offset - self.clock()


async def ask(db: Runner, clock: DatabaseClock) -> None:
    """Ask the database for the time: no other answer comes so soon after it was read.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    sent_at = clock.clock()
    [row] = await db.fetch("instances.clock")
    clock.observe(row["now"], row["now"], sent_at=sent_at, received_at=clock.clock())


class PolledClock:
    """Tells the database's time, and asks the database when the last answer is over a minute old.

    An API process uses this clock; an instance learns the time from the answers to its looks.
    """

    def __init__(self, db: Runner, *, clock: Callable[[], float] = monotonic) -> None:
        self.db = db
        self.clock = clock
        self.estimate = DatabaseClock(hold_seconds=0.0, clock=clock)
        self.asked_at = float("-inf")
        """Monotonic seconds of the last answer."""

    def __repr__(self) -> str:
        return f"PolledClock({self.estimate!r})"

    async def now(self) -> datetime:
        """Return the database's time, at most a fraction of a round trip behind it.

        Raises:
            DatabaseUnavailable: the database had to be asked and does not answer.
        """
        if self.clock() - self.asked_at > TRUSTED_SECONDS:
            await ask(self.db, self.estimate)
            self.asked_at = self.clock()
        return self.estimate.now()
