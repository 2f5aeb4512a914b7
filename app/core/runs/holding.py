"""What flows mean for runs: answers that hold all jobs of one, and waits that are not late."""

from datetime import datetime

from app.core.runs.claim import Claim
from app.core.runs.outcome import Report

OVERLOADED = frozenset({429, 503})
"""Too Many Requests (RFC 6585), Service Unavailable (RFC 9110): statuses that speak of all requests
and not of the one that was answered."""


def hold_seconds(report: Report) -> float | None:
    """Return for how many seconds no job of the flow may start; None: the answer holds none."""
    if report.status_code not in OVERLOADED or not report.retry_after_seconds:
        return None
    return report.retry_after_seconds


def lateness_at(claim: Claim, *, now: datetime) -> datetime:
    """Return the instant by which to judge whether a run comes too late.

    While a run waits for a permit of its flow, its time stands still. Runs that came due while the
    run before them waited or executed are late as ever.
    """
    if claim.waiting_since is None:
        return now
    if claim.last_ended_at is not None and claim.last_ended_at > claim.due_at:
        return now
    return min(now, max(claim.waiting_since, claim.due_at))
