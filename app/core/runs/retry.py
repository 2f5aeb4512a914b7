"""How long to wait before another attempt."""

from app.core.runs.claim import RetryPolicy

SPREAD = 0.2


def backoff_seconds(attempt: int, policy: RetryPolicy, *, jitter: float) -> float:
    """Wait before the attempt after `attempt` (from 1); `jitter` in [0, 1) spreads it by ±20 %.

    Doubles from `policy.backoff_seconds` up to `policy.backoff_max_seconds` before the spread, so
    that a mass failure does not come back as one; cannot overflow however large `attempt` is.
    """
    doublings = min(attempt - 1, 62)
    wait = min(policy.backoff_seconds * 2.0**doublings, policy.backoff_max_seconds)
    return wait * (1 - SPREAD + 2 * SPREAD * jitter)
