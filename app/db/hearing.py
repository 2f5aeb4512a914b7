"""Decides whether an instance listens for notifications: for a while it does not after a flood.

Any role that may connect to the database may notify on any channel, and asyncpg handles each
notification by itself, between the looks (docs/adr/0066).
"""

from collections.abc import Callable
from time import monotonic

MAX_PER_SECOND = 10_000
"""More notifications in a second than this are a flood; long payloads count several times."""
PAYLOAD_UNIT = 256
"""A notification counts once, and once more for each so many characters of its payload."""
DEAF_SECONDS = 30.0
"""How long an instance does not listen after a flood."""
DEAF_SLEEP_SECONDS = 0.2
"""The longest sleep between looks while an instance does not listen."""


class Hearing:
    """Counts the notifications of an instance, over all its sessions."""

    def __init__(
        self, *, clock: Callable[[], float] = monotonic, deaf_seconds: float = DEAF_SECONDS
    ) -> None:
        self.clock = clock
        self.deaf_seconds = deaf_seconds
        self.second_ends_at = float("-inf")
        self.heard = 0
        self.deaf_until = float("-inf")

    def __repr__(self) -> str:
        return f"Hearing({'deaf' if self.is_deaf else 'listening'})"

    @property
    def is_deaf(self) -> bool:
        """Whether the last flood was less than `deaf_seconds` ago."""
        return self.clock() < self.deaf_until

    def hear(self, payload: str) -> bool:
        """Count a notification; return False if this one begins a flood."""
        if self.is_deaf:
            return False
        now = self.clock()
        if now >= self.second_ends_at:
            self.second_ends_at, self.heard = now + 1.0, 0
        self.heard += 1 + len(payload) // PAYLOAD_UNIT
        if self.heard <= MAX_PER_SECOND:
            return True
        self.deaf_until = now + self.deaf_seconds
        return False
