"""Learns of due jobs of a raised priority, while more is due than this instance can claim."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from app.db.database import Runner
from app.db.isolating import may_be_about_a_row
from app.db.raised import find_due
from app.scheduler.notify import Wakeup
from app.timers import Monotonic

FEW = 50
"""Fewer due jobs than this are claimed by themselves, before a look that takes many."""
SHORT = 100
"""The most jobs of a look behind which a raised job may soon have to wait."""
EXPECTED_SECONDS = 3.0
"""For how long another raised job is expected, for each that was due. What is kept short for it
costs all others, so rare raised jobs keep little short: one a minute, a twentieth of the time."""
MAX_EXPECTED_SECONDS = 60.0
"""The longest time for which many that were due let another be expected."""
SOON_SECONDS = 0.5
"""A raised job that is planned is expected so long before it is due."""
ASKED_AGAIN_SECONDS = 1.0
"""The longest time after which the database is asked again; earlier for a notification."""


class RaisedJobs:
    """Knows how many jobs of a raised priority are due, for looks that leave due jobs behind.

    The database is asked only if that may have changed, so that a backlog without such jobs is
    worked off as fast as if there were no priorities.
    """

    def __init__(  # noqa: PLR0913 - what an instance shares with its poller
        self,
        *,
        kinds: tuple[str, ...],
        believed: Callable[[], datetime | None],
        aside: Callable[[], Sequence[UUID]],
        monotonic: Monotonic,
        wakeup: Wakeup,
        limit_sleep: Callable[[float], float],
    ) -> None:
        self.kinds = kinds
        self.believed = believed
        self.aside = aside
        self.monotonic = monotonic
        self.wakeup = wakeup
        self.limit_sleep = limit_sleep
        """Shortens a wait while writers send no notification, see `Polling`."""
        self.notifications = -1
        """How many notifications there had been when the database was last asked."""
        self.ask_at = 0.0
        """When to ask again, monotonic seconds, if no notification comes before."""
        self.expected_until = float("-inf")
        """Until when another raised job is expected for those that were due, monotonic seconds."""
        self.next_at = float("inf")
        """When the next raised job comes due that the database told of, monotonic seconds."""

    def __repr__(self) -> str:
        return f"<RaisedJobs: asked again in {self.next_seconds():.3f} s>"

    @property
    def is_expected(self) -> bool:
        """Whether a raised job is expected: some were due not long ago, or one soon is."""
        now = self.monotonic()
        is_soon = self.next_at - SOON_SECONDS <= now < self.next_at + EXPECTED_SECONDS
        return is_soon or now < self.expected_until

    def short(self, limit: int) -> int:
        """Return for how many jobs to look that are not raised: a look for many takes long."""
        return min(limit, SHORT) if self.is_expected else limit

    def next_seconds(self) -> float:
        """Return for how many seconds `count_due` would answer 0 without asking."""
        if self.wakeup.notifications != self.notifications:
            return 0.0
        return max(self.ask_at - self.monotonic(), 0.0)

    async def count_due(self, session: Runner) -> int:
        """Count the due jobs of a raised priority that are not claimed, up to `FEW`.

        Raises:
            Exception: an error for which `may_be_about_a_row` is false.
        """
        if self.next_seconds() > 0:
            return 0
        now, self.notifications = self.monotonic(), self.wakeup.notifications
        try:
            found = await find_due(
                session, most=FEW, kinds=self.kinds, believed=self.believed(), aside=self.aside()
            )
        except Exception as error:
            if not may_be_about_a_row(error):
                raise
            self.ask_at = now + ASKED_AGAIN_SECONDS  # looks come upon that row as well
            return 0
        if found.due:
            self.expect(now, found.due)
        self.next_at = now + (float("inf") if found.next_seconds is None else found.next_seconds)
        wait = min(found.next_seconds or ASKED_AGAIN_SECONDS, ASKED_AGAIN_SECONDS)
        self.ask_at = now if found.due else now + self.limit_sleep(wait)
        return found.due

    def expect(self, now: float, many: int) -> None:
        """Expect another raised job for a time, as so many are due."""
        until = max(self.expected_until, now) + many * EXPECTED_SECONDS
        self.expected_until = min(until, now + MAX_EXPECTED_SECONDS)
