"""How an execution ended, and what its executor reports."""

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """How an execution ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The target refused the request, could not be reached, or gave no valid answer."""
    TIMED_OUT = "timed_out"
    """No complete answer within `timeout_seconds`; the target may have acted all the same."""
    CANCELLED = "cancelled"
    """The execution was ended before the target answered: a person cancelled it, the next run came
    due (`cancel_other`), the instance was stopping, or its lease could not be extended."""
    LOST = "lost"
    """The lease ran out unsettled: the instance died or froze."""
    MISSED = "missed"
    """No instance could start the run within its grace; there was no attempt."""


CANCELLED = "cancelled"
"""The reason of an execution that a person cancelled."""
OVERLAP = "overlap"
"""The reason of a run that was missed, or cut off, for another run of its job."""


class Report(Struct, frozen=True, kw_only=True):
    """The result of one attempt, as its executor reports it."""

    outcome: Outcome
    reason: str | None = None
    """A stable word for programs, such as `dns`, `timeout` or `status`; None after a success."""
    error: str | None = None
    """A sentence for people, of bounded length, without secrets and NULs."""
    status_code: int | None = None
    response: str | None = None
    """The first part of the answer's body as text, without secrets and NULs."""
    retryable: bool = True
    """Whether another attempt may succeed."""
    retry_after_seconds: float | None = None
    """How long the target asked to be left alone (Retry-After); at most a day."""
