"""Pauses the listening of an instance in a flood of notifications, which would hold its looks up.

Any role that may connect to the database may notify on any channel, and asyncpg handles each
notification by itself, between the looks (docs/adr/0066).
"""

from collections.abc import Callable
from time import monotonic

MAX_PER_SECOND = 10_000
"""More notifications in a second than this are a flood; long payloads count several times."""
PAYLOAD_UNIT = 256
"""A notification counts once, and once more for each so many characters of its payload."""
PAUSE_SECONDS = 30.0
"""How long an instance does not listen after a flood."""
FLOOD_SLEEP_SECONDS = 0.2
"""The longest sleep between looks while an instance does not listen."""


class FloodGuard:
    """Counts the notifications of an instance, over all its sessions, and finds floods."""

    def __init__(
        self, *, clock: Callable[[], float] = monotonic, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self.clock = clock
        self.pause_seconds = pause_seconds
        self.second_ends_at = float("-inf")
        """When the second ends whose notifications are being counted, by `clock`."""
        self.counted = 0
        """How many notifications came in this second."""
        self.paused_until = float("-inf")

    def __repr__(self) -> str:
        return f"<FloodGuard: {'paused' if self.is_paused else 'listening'}>"

    @property
    def is_paused(self) -> bool:
        """Whether the last flood was less than `pause_seconds` ago."""
        return self.clock() < self.paused_until

    def count(self, payload: str) -> bool:
        """Count a notification; return False if a flood begins with this one, or lasts."""
        if self.is_paused:
            return False
        now = self.clock()
        if now >= self.second_ends_at:
            self.second_ends_at, self.counted = now + 1.0, 0
        self.counted += 1 + len(payload) // PAYLOAD_UNIT
        if self.counted <= MAX_PER_SECOND:
            return True
        self.paused_until = now + self.pause_seconds
        return False
