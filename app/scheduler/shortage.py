"""Defers executions while the process can open no file or connection, and tells of that."""

from datetime import datetime, timedelta

from app.core.facts import DescriptorsExhausted
from app.core.runs.claim import Claim, Settlement
from app.core.runs.transition import deferred
from app.descriptors import limit
from app.scheduler.deferral import defer_seconds
from app.telemetry import Observers
from app.timers import Monotonic

TOLD_SECONDS = 10.0
"""The shortest time between two facts that tell of a shortage."""
PASSED_SECONDS = 5.0
"""A shortage counts as over after this long without an execution that met one."""


class Shortage:
    """Defers claims during a shortage: the more meet it, the longer each is deferred.

    A deferred claim costs its run no attempt.
    """

    def __init__(self, observers: Observers, clock: Monotonic) -> None:
        self.observers = observers
        self.clock = clock
        self.times = 0
        """How many executions met the present shortage."""
        self.met_at = self.told_at = float("-inf")
        """When an execution last met a shortage, and when one was last told of (monotonic)."""

    def __repr__(self) -> str:
        return f"<Shortage: {self.times} executions deferred, last at {self.met_at:.3f}>"

    def defer(self, claim: Claim, *, now: datetime, jitter: float) -> Settlement:
        """Return the settlement that defers a claim, by `defer_seconds`; `jitter` in [0, 1)."""
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
