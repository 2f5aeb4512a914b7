"""When an instance promises to look often, so that writers need not wake it, and what that asks.

A notification costs its writer a lock that all commits share. Under a storm of them an instance
publishes a promise: until then, and for a grace beyond, I look every few milliseconds by myself.
"""

PROMISE_SECONDS = 1.0
"""How long a publication is in force: for so long writers notify nobody."""
RENEW_SECONDS = 0.5
"""It is renewed when less than so much of it is left."""
GRACE_SECONDS = 1.0
"""A writer that saw the promise has so long after its end to COMMIT. All others look once after
that: what a publisher that died would have found waits for so long at most."""
LOOK_SECONDS = 0.02
"""The longest sleep while the promise is to be kept."""
FULL_SECONDS = 0.1
"""Without room for so long an instance takes its promise back: others may have some."""
PACE_SECONDS = 0.5
"""Paces are taken over so long."""
RINGS_PER_SECOND = 100.0
"""Notifications that make a storm. Below it each new job is started at once."""
FINDS_PER_SECOND = 50.0
"""Claims that keep one up: while it is published there are no notifications to count."""


def publishes(
    *, rings_per_second: float, finds_per_second: float, awake_seconds: float, looked_ago: float
) -> bool:
    """Tell whether to promise, or to promise anew.

    `awake_seconds` is what is left of the promise in force, below zero for one that is over;
    `looked_ago` the seconds since the last look that had room for a job.
    """
    if awake_seconds > RENEW_SECONDS or looked_ago > FULL_SECONDS:
        return False
    lasts = awake_seconds > -GRACE_SECONDS and finds_per_second >= FINDS_PER_SECOND
    return lasts or rings_per_second >= RINGS_PER_SECOND


def withdraws(*, awake_seconds: float, looked_ago: float) -> bool:
    """Tell whether to take the promise back, because there is no room to keep it."""
    return awake_seconds > 0 and looked_ago > FULL_SECONDS


def longest_sleep_seconds(*, awake_seconds: float, others_awake_seconds: float) -> float:
    """Return how long may be slept for the sake of one's own promise and those of others."""
    if awake_seconds > -GRACE_SECONDS:
        return LOOK_SECONDS
    if others_awake_seconds > -GRACE_SECONDS:
        return others_awake_seconds + GRACE_SECONDS
    return float("inf")
