"""Tells when the API can accept no connection, as no file descriptor is left.

The event loop does not tell: libuv accepts such a connection, closes it at once, and goes on
listening (docs/adr/0042).
"""

from collections.abc import Callable
from time import monotonic

from app.core.facts import DescriptorsExhausted
from app.descriptors import find_shortage, limit
from app.telemetry import Observers

SPELL_SECONDS = 10.0
"""Shortages less than this long apart are told of once."""


class AcceptShortage:
    """Tells of a shortage of file descriptors once, when it begins."""

    def __init__(self, observers: Observers, *, clock: Callable[[], float] = monotonic) -> None:
        self.observers = observers
        self.clock = clock
        self.met_at = float("-inf")

    def look(self) -> None:
        """Tell of a shortage if no file can be opened; the try takes microseconds."""
        if find_shortage() is None:
            return
        now = self.clock()
        if now - self.met_at >= SPELL_SECONDS:
            self.observers.tell(DescriptorsExhausted(limit=limit()))
        self.met_at = now
