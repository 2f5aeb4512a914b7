"""The claims that this instance is executing."""

import asyncio
from enum import StrEnum

from app.core.claim import Claim

MARGIN_SECONDS = 0.5
"""An execution is cut off so long before its lease ends: closing a connection takes a moment, and
whoever takes over may do so in the very instant."""


class Ending(StrEnum):
    """Why an execution was cut off."""

    TIMEOUT = "timeout"
    LEASE = "lease"
    DRAIN = "drain"


class InFlight:
    """One claim while it executes: its scope ends at the first of timeout, lease end and drain.

    Cutting off is done by moving the deadline of an `asyncio.timeout`, so a cancellation of the
    task itself always means that the process is being torn down.
    """

    def __init__(self, claim: Claim, *, lease_ends: float) -> None:
        self.claim = claim
        self.lease_ends = lease_ends
        """Loop time; whoever claims next may start then."""
        self.times_out: float | None = None
        self.ending = Ending.TIMEOUT
        self.scope: asyncio.Timeout | None = None

    @property
    def cut_at(self) -> float:
        """Loop time from which nothing more may be sent for this claim."""
        return self.lease_ends - MARGIN_SECONDS

    @property
    def over(self) -> bool:
        """Whether the lease has ended: the process was frozen, or Postgres answered too late."""
        return asyncio.get_running_loop().time() >= self.cut_at

    def begin(self, scope: asyncio.Timeout, *, timeout_seconds: float) -> None:
        """Start the clock of an execution inside `scope`."""
        self.scope = scope
        self.times_out = asyncio.get_running_loop().time() + timeout_seconds
        self.reschedule()

    def end(self) -> None:
        """Note that the executor has reported."""
        self.scope = None

    def extend(self, *, lease_ends: float) -> None:
        """Note that the lease now ends later."""
        self.lease_ends = lease_ends
        self.reschedule()

    def reschedule(self) -> None:
        """Put the deadline at the first of the two ends."""
        if (
            self.scope is None
            or self.times_out is None
            or self.ending is Ending.DRAIN
            or self.scope.expired()
        ):
            return
        self.ending = Ending.LEASE if self.cut_at < self.times_out else Ending.TIMEOUT
        self.scope.reschedule(min(self.cut_at, self.times_out))

    def cut(self, ending: Ending) -> None:
        """End the execution now."""
        if self.scope is not None and not self.scope.expired():
            self.ending = ending
            self.scope.reschedule(asyncio.get_running_loop().time())
