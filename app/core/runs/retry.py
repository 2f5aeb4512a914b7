"""The backoff: how long to wait before another attempt."""

from app.core.runs.claim import RetryPolicy

SPREAD = 0.2
"""The largest share by which jitter lengthens or shortens a wait."""


def backoff_seconds(attempt: int, policy: RetryPolicy, *, jitter: float) -> float:
    """Return the wait after `attempt` (from 1) has failed.

    The wait doubles with each attempt from `policy.backoff_seconds` to
    `policy.backoff_max_seconds`. `jitter` in [0, 1) then varies the wait by ±20 %, so that jobs
    that failed together do not all retry at the same instant.
    """
    doublings = min(attempt - 1, 62)  # more could overflow a float, and no backoff is so long
    wait = min(policy.backoff_seconds * 2.0**doublings, policy.backoff_max_seconds)
    return wait * (1 - SPREAD + 2 * SPREAD * jitter)
