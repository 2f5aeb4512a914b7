"""What becomes of executions while no file can be opened: they wait, and it is told."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from app.core.facts import DescriptorsExhausted
from app.core.runs.claim import Claim, Settlement
from app.core.runs.transition import put_off
from app.descriptors import limit
from app.scheduler.hosts import put_off_seconds
from app.telemetry import Observers

TOLD_SECONDS = 10.0
"""How often at most it is told."""
PASSED_SECONDS = 5.0
"""A shortage that nobody has met for so long is over."""


class Shortage:
    """Puts executions off, the longer the more there are; none of them costs an attempt."""

    def __init__(self, observers: Observers, *, clock: Callable[[], float] = monotonic) -> None:
        self.observers = observers
        self.clock = clock
        self.times = 0
        self.met_at = self.told_at = float("-inf")

    def put_off(self, claim: Claim, *, now: datetime, jitter: float) -> Settlement:
        """Give the claim back for a while; `jitter` in [0, 1)."""
        clock = self.clock()
        if clock - self.met_at > PASSED_SECONDS:
            self.times = 0
        self.met_at = clock
        self.times += 1
        if clock - self.told_at >= TOLD_SECONDS:
            self.told_at = clock
            self.observers.tell(DescriptorsExhausted(limit=limit()))
        seconds = put_off_seconds(self.times, jitter=jitter)
        return put_off(claim, until=now + timedelta(seconds=seconds))
