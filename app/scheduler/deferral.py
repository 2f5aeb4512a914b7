"""The admission of due claims, and for how long those are released that are not admitted soon."""

from typing import Literal

MIN_DEFER_SECONDS = 1.0
"""The shortest deferral, before jitter: a claim that comes back sooner would find the same."""
MAX_DEFER_SECONDS = 30.0
"""The longest deferral, before jitter: so long a job may not notice that its host answers again."""
DEFERRALS_PER_SECOND = 100.0
"""The rate at which deferred claims may come back, as each costs the database a claim and a
settlement. The more claims are deferred, the longer each is."""

Admission = Literal["start", "park", "defer"]
"""What becomes of a due claim. `park`: the claim waits here for a slot or a prerequisite, which may
come soon. `defer`: the claim is released for some seconds, as too many claims wait for the same, or
its host is stuck."""


def defer_seconds(times: int, *, jitter: float) -> float:
    """Return for how many seconds to defer the `times`-th claim in a row.

    From `MIN_DEFER_SECONDS` to `MAX_DEFER_SECONDS`, times 0.5 to 1.5 by `jitter` in [0, 1).
    """
    seconds = times / DEFERRALS_PER_SECOND
    seconds = min(max(seconds, MIN_DEFER_SECONDS), MAX_DEFER_SECONDS)
    return seconds * (0.5 + jitter)


class Deferrals:
    """Counts the claims that were deferred in a row for want of one prerequisite.

    The more there are, the longer the next one is deferred.
    """

    def __init__(self) -> None:
        self.times = 0

    def __repr__(self) -> str:
        return f"<Deferrals: {self.times}>"

    def next_seconds(self, *, jitter: float) -> float:
        """Count one more; return for how many seconds to defer the claim. `jitter` in [0, 1)."""
        self.times += 1
        return defer_seconds(self.times, jitter=jitter)

    def end(self) -> None:
        """Count from zero again, as no claim waits for the prerequisite any longer."""
        self.times = 0
