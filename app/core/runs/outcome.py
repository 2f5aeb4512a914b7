"""How an execution ended, and what the executor has to say about it."""

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The target refused, could not be reached, or could not be understood."""
    TIMED_OUT = "timed_out"
    """No complete answer within `timeout_seconds`; the target may have acted all the same."""
    CANCELLED = "cancelled"
    """Ended by an instance that stops, before the target answered."""
    LOST = "lost"
    """The lease ran out unsettled: the instance died or froze."""
    MISSED = "missed"
    """A run that nobody could start in time; there was no attempt."""


class Report(Struct, frozen=True, kw_only=True):
    """What came of one attempt, in the words of its executor."""

    outcome: Outcome
    reason: str | None = None
    """A stable word for programs, e.g. `dns`, `timeout`, `status`; null when it succeeded."""
    error: str | None = None
    """A sentence for people: bounded, without secrets and NULs."""
    status_code: int | None = None
    response: str | None = None
    """First part of the body as text: bounded, without secrets and NULs."""
    retryable: bool = True
    """Another attempt may help."""
    retry_after_seconds: float | None = None
    """How long the target asked to be left alone; at most a day."""
