"""Knows when to look for jobs of a raised priority, while more is due than can be claimed."""

from collections.abc import Callable

from app.db.raised import RaisedLook
from app.timers import Monotonic

FEW = 50
"""The most raised jobs that a look for them alone claims; if as many are due, a look by priority,
which claims other jobs too, follows."""
SHORT = 100
"""The most jobs of a look behind which a raised job may soon have to wait."""
EXPECTED_SECONDS = 3.0
"""For how long another raised job is expected, for each that was due. Looks and turns of the event
loop are short meanwhile, which slows all other jobs: for one raised job a minute, a twentieth of
the time."""
MAX_EXPECTED_SECONDS = 60.0
"""The longest time for which another raised job is expected, however many were due."""
SOON_SECONDS = 0.5
"""A raised job that is planned is expected so long before it is due."""
ASKED_AGAIN_SECONDS = 1.0
"""The longest time after which the database is asked again; earlier for a notification."""


class RaisedJobs:
    """Knows when to look for due jobs of a raised priority, for looks that leave due jobs behind.

    The database is asked only if raised jobs may have come due since it was asked last, so that a
    backlog without such jobs is worked off as fast as if there were no priorities.
    """

    def __init__(self, *, monotonic: Monotonic, limit_sleep: Callable[[float], float]) -> None:
        self.monotonic = monotonic
        self.limit_sleep = limit_sleep
        """Shortens a wait while writers send no notification, see `Polling`."""
        self.heard = 0
        """How often something was heard of."""
        self.asked_of = -1
        """How often that had been when the database was last asked."""
        self.ask_at = 0.0
        """When to ask again, monotonic seconds, if no notification comes before."""
        self.again_at = 0.0
        """The same where raised jobs are due that cannot be claimed."""
        self.expected_until = float("-inf")
        """Until when another raised job is expected for those that were due, monotonic seconds."""
        self.begun = 0
        """How many looks have begun; two may be under way at a time."""
        self.next_at = float("inf")
        """When the next raised job comes due that the database told of, monotonic seconds."""

    def __repr__(self) -> str:
        return f"<RaisedJobs: asked again in {self.next_seconds():.3f} s>"

    @property
    def is_expected(self) -> bool:
        """Whether a raised job is expected: some were due not long ago, or one soon is."""
        return self.is_expected_at(self.monotonic())

    def is_expected_at(self, now: float) -> bool:
        """Whether a raised job was expected at an instant, monotonic seconds, as is known now."""
        is_soon = self.next_at - SOON_SECONDS <= now < self.next_at + EXPECTED_SECONDS
        return is_soon or now < self.expected_until

    def short(self, limit: int) -> int:
        """Return how many jobs without a priority to look for: a look for many takes long."""
        return min(limit, SHORT) if self.is_expected else limit

    def hear(self) -> None:
        """Hear that a raised job may be due, by a notification: the database is asked again."""
        self.heard += 1

    def next_seconds(self) -> float:
        """Return in how many seconds to ask the database again; 0 after a notification."""
        if self.heard != self.asked_of:
            return 0.0
        return max(self.ask_at - self.monotonic(), 0.0)

    def again_seconds(self) -> float:
        """Return in how many seconds to ask again where due raised jobs could not be claimed."""
        return max(self.again_at - self.monotonic(), 0.0)

    def begin(self) -> int:
        """Note that a look begins, and return its number: later notifications ask for another one.

        If this look fails, so that `found` is not called, the next one is made after
        `ASKED_AGAIN_SECONDS`: looks for all jobs come upon the row for which this one failed.
        """
        self.asked_of = self.heard
        self.ask_at = self.again_at = self.monotonic() + ASKED_AGAIN_SECONDS
        self.begun += 1
        return self.begun

    def found(self, raised: RaisedLook, *, at: float, number: int) -> None:
        """Learn from a look, the one of this `number`, that began at `at`, monotonic seconds.

        What one that began later has told, or will tell, is newer, and asks again no later for it.
        """
        if raised.due:
            self.expect(at, raised.due)
        seconds = raised.next_seconds
        next_at = at + (float("inf") if seconds is None else seconds)
        wait = min(ASKED_AGAIN_SECONDS if seconds is None else seconds, ASKED_AGAIN_SECONDS)
        again_at = at + self.limit_sleep(wait)
        ask_at = at if raised.due else again_at
        if number == self.begun:
            self.next_at, self.again_at, self.ask_at = next_at, again_at, ask_at
        else:
            self.ask_at = min(self.ask_at, ask_at)

    def failed(self) -> None:
        """Note that a look beside another one has failed: the next one of the session asks anew."""
        self.ask_at = self.monotonic()

    def expect(self, now: float, many: int) -> None:
        """Expect another raised job for a time, as so many are due."""
        until = max(self.expected_until, now) + many * EXPECTED_SECONDS
        self.expected_until = min(until, now + MAX_EXPECTED_SECONDS)
