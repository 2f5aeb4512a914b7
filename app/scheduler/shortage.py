"""Defers executions while this process can open no file, and tells observers of that."""

from datetime import datetime, timedelta

from app.core.facts import DescriptorsExhausted
from app.core.runs.claim import Claim, Settlement
from app.core.runs.transition import deferred
from app.descriptors import limit
from app.scheduler.admission import defer_seconds
from app.telemetry import Observers
from app.timers import Monotonic

TOLD_SECONDS = 10.0
"""The shortest time between two facts that tell of a shortage."""
PASSED_SECONDS = 5.0
"""A shortage is over when no execution has met one for so long."""


class Shortage:
    """Defers executions, the longer the more of them meet the shortage; none costs an attempt."""

    def __init__(self, observers: Observers, clock: Monotonic) -> None:
        self.observers = observers
        self.clock = clock
        self.times = 0
        self.met_at = self.told_at = float("-inf")

    def defer(self, claim: Claim, *, now: datetime, jitter: float) -> Settlement:
        """Return a settlement that releases the claim for seconds; `jitter` in [0, 1)."""
        clock = self.clock()
        if clock - self.met_at > PASSED_SECONDS:
            self.times = 0
        self.met_at = clock
        self.times += 1
        if clock - self.told_at >= TOLD_SECONDS:
            self.told_at = clock
            self.observers.tell(DescriptorsExhausted(limit=limit()))
        seconds = defer_seconds(self.times, jitter=jitter)
        return deferred(claim, until=now + timedelta(seconds=seconds))
