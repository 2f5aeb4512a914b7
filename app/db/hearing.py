"""Whether an instance listens for notifications: for a while it does not after a flood of them.

Whoever may connect to the database may notify on any channel, and asyncpg handles each notification
by itself, between the looks (docs/adr/0066).
"""

from collections.abc import Callable
from time import monotonic

MAX_PER_SECOND = 10_000
"""Notifications in a second that are a flood; those with long payloads count several times."""
PAYLOAD_UNIT = 256
"""Each so many characters of a payload count as one notification more."""
DEAF_SECONDS = 30.0
"""How long an instance does not listen after a flood."""
DEAF_SLEEP_SECONDS = 0.2
"""The longest sleep between looks while nothing is listened for."""


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
        """Whether a flood was so lately that nothing should be listened for."""
        return self.clock() < self.deaf_until

    def hear(self, payload: str) -> bool:
        """Count a notification; return False if it is one too many."""
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
