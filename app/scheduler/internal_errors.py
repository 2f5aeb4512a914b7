"""Settles claims whose execution Tocsin itself could not carry out, whatever the target does."""

import random
from datetime import datetime, timedelta

from app.core.facts import DescriptorsExhausted
from app.core.runs.claim import Claim, Settlement
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import deferred, invalid, released, settled
from app.db.clock import DatabaseClock
from app.descriptors import OutOfDescriptors, is_shortage, limit
from app.errors import InvalidInput
from app.scheduler.deferral import defer_seconds
from app.scheduler.flows import PermitOver
from app.scheduler.isolation import REMEDY
from app.targets.net.tls_contexts import ContextsCrowded
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.templates.renderer import RendererCrowded
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


class InternalErrors:
    """Decides how to settle the claims of one instance whose execution raised an error.

    A shortage of file descriptors, and too many TLS contexts or templates in the making, defer a
    claim, and a permit that is over releases it: nothing was sent. Any other error fails the
    attempt.
    """

    def __init__(
        self, observers: Observers, clock: DatabaseClock, monotonic: Monotonic, *, instance: str
    ) -> None:
        self.observers = observers
        self.clock = clock
        self.instance = instance
        self.shortage = Shortage(observers, monotonic)

    def __repr__(self) -> str:
        return f"<InternalErrors: {self.shortage}>"

    def settlement(self, claim: Claim, error: Exception) -> Settlement:
        """Return how to settle a claim whose execution raised `error`. Never raises."""
        if isinstance(error, PermitOver):
            return released(claim)
        now, jitter = self.clock.now(), random.random()  # noqa: S311 - spreads, guards nothing
        if isinstance(error, ContextsCrowded | RendererCrowded):
            seconds = defer_seconds(error.times, jitter=jitter)
            return deferred(claim, until=now + timedelta(seconds=seconds))
        if isinstance(error, OutOfDescriptors) or (
            isinstance(error, OSError) and is_shortage(error)
        ):
            return self.shortage.defer(claim, now=now, jitter=jitter)
        if isinstance(error, InvalidInput):  # a schedule that was written past the triggers
            return invalid(claim, str(error))
        return self.failed(claim, error, now=now, jitter=jitter)

    def failed(self, claim: Claim, error: Exception, *, now: datetime, jitter: float) -> Settlement:
        """Tell the error, and return the settlement of an attempt that failed.

        Only the type of the error is recorded, as its text may repeat a secret of the target. If
        not even a settlement can be worked out, the job is made invalid until a person corrects
        it: otherwise its executions would be lost again and again.
        """
        self.observers.tell(faulted(f"job {claim.job_id}", error))
        said = f"Tocsin failed: {type(error).__name__}; its log says where"
        report = Report(outcome=Outcome.FAILED, reason="internal", error=said)
        try:
            return settled(
                claim,
                report,
                started_at=now,
                finished_at=now,
                instance=self.instance,
                jitter=jitter,
            )
        except Exception as again:  # noqa: BLE001 - see above
            self.observers.tell(faulted(f"job {claim.job_id}", again))
            return invalid(claim, f"cannot be carried out: {type(again).__name__}: {REMEDY}")
