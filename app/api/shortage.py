"""Tells when the API can accept no connection for want of a file descriptor.

The event loop says nothing of it: libuv accepts such a connection and closes it at once, and goes
on listening (docs/adr/0042).
"""

from collections.abc import Callable
from time import monotonic

from app.core.facts import DescriptorsExhausted
from app.descriptors import find_shortage, limit
from app.telemetry import Observers

SPELL_SECONDS = 10.0
"""A shortage that comes again within so long is the same spell."""


class AcceptShortage:
    """Tells each spell without file descriptors once, when it begins."""

    def __init__(self, observers: Observers, *, clock: Callable[[], float] = monotonic) -> None:
        self.observers = observers
        self.clock = clock
        self.met_at = float("-inf")

    def look(self) -> None:
        """Try whether a file can be opened, which takes microseconds."""
        if find_shortage() is None:
            return
        now = self.clock()
        if now - self.met_at >= SPELL_SECONDS:
            self.observers.tell(DescriptorsExhausted(limit=limit()))
        self.met_at = now
