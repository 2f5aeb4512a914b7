"""Why an execution is cut off before its executor has reported."""

from enum import StrEnum

from app.core.runs.outcome import OVERLAP, Outcome, Report


class Ending(StrEnum):
    """Why an execution was cut off."""

    TIMEOUT = "timeout"
    """The executor did not keep the timeout."""
    LEASE = "lease"
    """The lease could not be extended, or was taken away."""
    DRAIN = "drain"
    """The instance was stopped and its grace was over."""
    OVERLAP = "overlap"
    """The next run of the job came due."""

    def report(self, *, timeout_seconds: float) -> Report:
        """Return the report of an execution that was cut off for this reason."""
        match self:
            case Ending.TIMEOUT:
                return Report(
                    outcome=Outcome.TIMED_OUT,
                    reason="timeout",
                    error=f"no answer within {timeout_seconds:g} s",
                )
            case Ending.LEASE:
                return Report(
                    outcome=Outcome.CANCELLED,
                    reason="lease",
                    error="cut off: the lease could not be extended, another instance may take "
                    "over",
                )
            case Ending.DRAIN:
                return Report(
                    outcome=Outcome.CANCELLED,
                    reason="drain",
                    error="cut off: the instance was stopped and its grace was over",
                )
            case Ending.OVERLAP:
                return Report(
                    outcome=Outcome.CANCELLED,
                    reason=OVERLAP,
                    error="cut off: the next run came due, and overlap is cancel_other",
                    retryable=False,
                )
