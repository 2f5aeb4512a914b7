"""How many slots one host, or one address, may have: its share."""

from collections import Counter

from app.scheduler.deferral import defer_seconds
from app.timers import Monotonic

SHARE = 9
"""The most slots that a host may have, in multiples of the free slots. One host alone gets 9/10 of
the slots, two get 9/19 each, and of ten slots or more some are always left for a host that has none
(the dynamic thresholds of shared switch buffers, after Choudhury and Hahne)."""
ADDRESS_SHARE = 19
"""The most slots that an address may have, in multiples of the free slots: one address alone gets
95 of 100. An instance with less than 20 slots has a smaller multiple, but at least `SHARE`."""
STUCK_SECONDS = 0.25
"""A host that has its share and has ended no execution for this long is stuck: claims for the host
are deferred."""


class Shares:
    """Counts how many slots each host has, and how many of its claims were deferred.

    `Slots` has one that counts by host, and one that counts by address.
    """

    def __init__(self, clock: Monotonic, *, share: int = SHARE) -> None:
        self.share = share
        self.clock = clock
        self.executing: Counter[str] = Counter()
        """How many slots each host has."""
        self.moved_at: dict[str, float] = {}
        """When each host last ended an execution, or got its first slot (monotonic seconds)."""
        self.deferred: Counter[str] = Counter()
        """How many claims for each host were deferred since its last execution ended."""

    def __repr__(self) -> str:
        return f"<Shares: executing {dict(self.executing)}, deferred {dict(self.deferred)}>"

    def begin(self, host: str) -> None:
        """Count an execution that starts; a host without any other cannot be stuck yet."""
        count = self.executing.get(host, 0)
        if not count:
            self.moved_at[host] = self.clock()
        self.executing[host] = count + 1

    def end(self, host: str, *, now: float) -> None:
        """Count an execution that ended; a host without any other is forgotten."""
        count = self.executing[host] - 1
        if self.deferred:
            self.deferred.pop(host, None)
        if count:
            self.executing[host] = count
            self.moved_at[host] = now
        else:
            del self.executing[host], self.moved_at[host]

    def is_full(self, host: str, *, free: int) -> bool:
        """Return whether the host has its share of slots; False while none is `free`."""
        return 0 < self.share * free <= self.executing[host]

    def is_stuck(self, host: str, *, free: int) -> bool:
        """Return whether the host has its share and ended nothing for `STUCK_SECONDS`."""
        if not self.is_full(host, free=free):
            return False
        return self.clock() - self.moved_at[host] >= STUCK_SECONDS

    def defer_seconds(self, host: str, *, jitter: float) -> float:
        """Count a claim as deferred; return for how many seconds, 0.5 to 45; `jitter` in [0, 1)."""
        self.deferred[host] += 1
        return defer_seconds(self.deferred[host], jitter=jitter)
