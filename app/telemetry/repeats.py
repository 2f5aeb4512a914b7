"""Thins out log lines that repeat, such as the same error each second of an outage."""

from collections.abc import Hashable

from msgspec import Struct

from app.timers import Monotonic

FIRST_PAUSE_SECONDS = 1.0
"""The pause after the first line of a kind; each further pause is twice as long."""
MAX_PAUSE_SECONDS = 60.0
"""The longest pause between two lines of a kind."""
MAX_KEYS = 1000
"""How many different lines are remembered; the oldest one is forgotten first."""


class Told(Struct):
    """A line that was told, with the pause until its next repetition is."""

    next_at: float
    pause_seconds: float
    repeated: int = 0
    """How many repetitions were kept back since the line was last told."""


class Repeats:
    """Decides which repetitions are told: the first, then one after pauses that grow to a minute.

    A line that does not occur for twice its pause counts as new.
    """

    def __init__(self, monotonic: Monotonic) -> None:
        self.monotonic = monotonic
        self.told: dict[Hashable, Told] = {}

    def __repr__(self) -> str:
        return f"<Repeats of {len(self.told)} things>"

    def count(self, key: Hashable) -> int | None:
        """Return how many repetitions were kept back before this one; None to keep it back too."""
        now = self.monotonic()
        one = self.told.get(key)
        if one is None or now > one.next_at + 2 * one.pause_seconds:
            self.told.pop(key, None)
            if len(self.told) >= MAX_KEYS:
                del self.told[next(iter(self.told))]
            self.told[key] = Told(
                next_at=now + FIRST_PAUSE_SECONDS, pause_seconds=FIRST_PAUSE_SECONDS
            )
            return 0
        if now < one.next_at:
            one.repeated += 1
            return None
        one.pause_seconds = min(2 * one.pause_seconds, MAX_PAUSE_SECONDS)
        one.next_at = now + one.pause_seconds
        count, one.repeated = one.repeated, 0
        return count
