"""When notifications are suppressed because an instance polls instead.

Each NOTIFY takes a lock that all commits of the server share. At a high rate of notifications an
instance therefore publishes a *promise* to look every few milliseconds. While a promise is in
force, the triggers on `tocsin.jobs` send no notification (docs/adr/0027).
"""

PROMISE_SECONDS = 1.0
"""How long a promise is in force: for this long writers send no notification."""
RENEW_SECONDS = 0.5
"""A promise with less than this left is renewed."""
GRACE_SECONDS = 1.0
"""How long after the end of a promise a writer that relied on it may still commit.

The promising instance polls for this long beyond its promise. All others look once afterwards:
jobs that an instance which died had promised to find wait no longer than this.
"""
LOOK_SECONDS = 0.02
"""The longest sleep between two looks of an instance that keeps a promise."""
MAX_LOOKED_AGO_SECONDS = 0.1
"""An instance without a free slot for this long withdraws its promise: others may have slots."""
PACE_SECONDS = 0.5
"""The time over which the rates of notifications and of claims are measured."""
MIN_NOTIFICATIONS_PER_SECOND = 100.0
"""The rate from which an instance promises; at lower rates each new job is started at once."""
MIN_CLAIMS_PER_SECOND = 50.0
"""The rate from which a promise is renewed: in its course there are no notifications to count."""


def publishes(
    *,
    notifications_per_second: float,
    claims_per_second: float,
    awake_seconds: float,
    looked_ago: float,
) -> bool:
    """Return whether the instance should publish or renew its promise.

    `awake_seconds` is how long the instance's own promise stays in force, negative once it is
    over; `looked_ago` the seconds since the last look with a free slot.
    """
    if awake_seconds > RENEW_SECONDS or looked_ago > MAX_LOOKED_AGO_SECONDS:
        return False
    lasts = awake_seconds > -GRACE_SECONDS and claims_per_second >= MIN_CLAIMS_PER_SECOND
    return lasts or notifications_per_second >= MIN_NOTIFICATIONS_PER_SECOND


def withdraws(*, awake_seconds: float, looked_ago: float) -> bool:
    """Return whether the instance should withdraw its promise, as it has no free slot."""
    return awake_seconds > 0 and looked_ago > MAX_LOOKED_AGO_SECONDS


def longest_sleep_seconds(*, awake_seconds: float, others_awake_seconds: float) -> float:
    """Return the longest sleep that the own promise and the promises of others allow."""
    if awake_seconds > -GRACE_SECONDS:
        return LOOK_SECONDS
    if others_awake_seconds > -GRACE_SECONDS:
        return others_awake_seconds + GRACE_SECONDS
    return float("inf")
