"""A claim that this instance holds, from taking it until it is settled."""

from collections.abc import Iterable
from enum import StrEnum
from time import monotonic

from app.core.runs.claim import Claim
from app.deadline import Deadline
from app.scheduler.hosts import hosts_of, names_of
from app.targets.tls_target import brings_certificates

MARGIN_SECONDS = 0.5
"""An execution is cut off so long before its lease ends: closing a connection takes a moment, and
whoever takes over may do so in the very instant."""
OVERTIME_SECONDS = 1.0
"""An executor that has not kept its timeout after so much longer is not going to."""


class Ending(StrEnum):
    """Why an execution was cut off."""

    TIMEOUT = "timeout"
    LEASE = "lease"
    DRAIN = "drain"


class HeldClaim:
    """One claim that this instance holds, and the deadline of its execution once that has begun.

    An execution is cut off shortly before its lease ends, and when a drain's grace is over. The
    timeout is kept by the executor. If it fails to, `extend_leases` cuts the execution off
    `OVERTIME_SECONDS` later, so a lease that outlives the timeout needs no timer here. Executions
    are cut off by moving their deadline; any other cancellation means that the process ends.
    """

    def __init__(self, claim: Claim, *, lease_ends: float) -> None:
        self.claim = claim
        hosts = hosts_of(claim.kind, claim.target)
        self.host = hosts[0] if hosts else ""
        self.names = names_of(hosts)
        """What it connects to, without ports."""
        self.names_waited_for = 0
        """How many of them, in their order."""
        self.places: tuple[str, ...] = ()
        """The addresses of its names, as far as they are known."""
        self.brings_certificates = brings_certificates(claim.target)
        """Whether certificates of its target have yet to be loaded."""
        self.lease_ends = lease_ends
        """Loop time, which is monotonic; whoever claims next may start then."""
        self.started = False
        self.doubted = False
        """Whether somebody edited the job or took its lease away since it was last extended."""
        self.prepared = 0
        """How often it was prepared."""
        self.waited_seconds = 0.0
        """Between its start and its request."""
        self.times_out: float | None = None
        self.ending = Ending.TIMEOUT
        self.scope: Deadline | None = None

    @property
    def cut_at(self) -> float:
        """Loop time from which nothing more may be sent for this claim."""
        return self.lease_ends - MARGIN_SECONDS

    @property
    def over(self) -> bool:
        """Whether `cut_at` has passed, as the process was frozen or Postgres answered too late.

        Read from the clock itself, as the loop's time stands still during a turn of the loop.
        """
        return monotonic() >= self.cut_at

    def begin(self, scope: Deadline, *, timeout_seconds: float) -> None:
        """Start the clock of an execution inside `scope`."""
        self.scope = scope
        self.times_out = monotonic() + timeout_seconds
        self.reschedule()

    def waited(self, seconds: float) -> None:
        """Note what had to be waited for before the request could be sent."""
        self.waited_seconds += seconds

    def is_overdue(self, now: float) -> bool:
        """Whether the executor should have kept its timeout by now, loop time."""
        return (
            self.scope is not None
            and self.times_out is not None
            and now >= self.times_out + OVERTIME_SECONDS
        )

    def end(self) -> None:
        """Note that the executor has reported."""
        self.scope = None

    def extend(self, *, lease_ends: float) -> None:
        """Note that the lease now ends later."""
        self.lease_ends = lease_ends
        self.reschedule()

    def reschedule(self) -> None:
        """Cut off at the end of the lease, if that comes before the timeout."""
        if (
            self.scope is None
            or self.times_out is None
            or self.ending is Ending.DRAIN
            or self.scope.passed
        ):
            return
        if self.cut_at < self.times_out + OVERTIME_SECONDS:
            self.ending = Ending.LEASE
            self.scope.move(self.cut_at)
        elif self.scope.at is not None:
            self.scope.move(None)

    def cut(self, ending: Ending) -> None:
        """End the execution now."""
        if self.scope is not None and not self.scope.passed:
            self.ending = ending
            self.scope.move(self.scope.loop.time())


def execution_ids(flights: Iterable[HeldClaim]) -> list[int]:
    """Name the executions of these claims."""
    return [flight.claim.execution_id for flight in flights]
