"""Room for executions, and how many claims are worth having in hand."""

from collections.abc import Callable, Sequence
from time import monotonic

from app.scheduler.hosts import SHARE, Hosts

RESERVE_SECONDS = 0.1
"""Claims for so long at the present pace are kept waiting, so that no slot idles during a look."""
MAX_RESERVE = 4
"""Times the slots: a reserve is lost time for others if the instance dies."""
PLACE_SHARE = 19
"""What `SHARE` is for a host, for an address: of a hundred slots it gets 95."""
MAX_SETTLING = 10
"""Times the slots: executions that wait for Postgres to take their results."""


class Slots:
    """Counts the slots that are taken. No host and no address gets them all: see `Hosts`.

    Who has a domain has as many hosts as they like. So the places where hosts are, which are their
    addresses, have a share as well; a larger one, lest a host that hangs leave nothing to the
    others that are at the same address.

    While executions are short, a few more claims are worth having than there are slots for; while
    they are long, none is: another instance could start it at once.
    """

    def __init__(self, size: int, *, clock: Callable[[], float] = monotonic) -> None:
        self.size = size
        self.clock = clock
        self.taken = 0
        self.hosts = Hosts(clock=clock)
        self.places = Hosts(share=min(max(size - 1, SHARE), PLACE_SHARE), clock=clock)
        self.reserve = 0
        self.given = 0
        self.given_at = self.counted_at = clock()

    @property
    def free(self) -> int:
        return self.size - self.taken

    def admits(self, host: str, places: Sequence[str] = ()) -> bool:
        """Whether the host may have a slot now, given the places that it is at."""
        free = self.free
        if free <= 0 or self.hosts.is_full(host, free=free):
            return False
        return not any(self.places.is_full(place, free=free) for place in places)

    def is_stuck(self, host: str, places: Sequence[str] = ()) -> bool:
        """Whether jobs for the host had better not wait here."""
        free = self.free
        if self.hosts.is_stuck(host, free=free):
            return True
        return any(self.places.is_stuck(place, free=free) for place in places)

    def defer_seconds(self, host: str, places: Sequence[str] = (), *, jitter: float) -> float:
        """Return when a job that is stuck is worth claiming again; `jitter` in [0, 1)."""
        for place in places:
            if self.places.is_stuck(place, free=self.free):
                return self.places.defer_seconds(place, jitter=jitter)
        return self.hosts.defer_seconds(host, jitter=jitter)

    def grant(self, host: str, places: Sequence[str] = ()) -> None:
        if not self.taken and self.clock() - self.given_at > RESERVE_SECONDS:
            self.given, self.counted_at = 0, self.clock()  # a rest says nothing about the pace
        self.taken += 1
        self.hosts.begin(host)
        for place in places:
            self.places.begin(place)

    def give(self, host: str, places: Sequence[str] = ()) -> None:
        """Take a slot back; the places are those that it was granted for."""
        self.given += 1
        self.given_at = self.clock()
        self.taken -= 1
        self.hosts.end(host)
        for place in places:
            self.places.end(place)

    @property
    def counted_seconds(self) -> float:
        """For how long the pace has been counted."""
        return self.clock() - self.counted_at

    def update_pace(self) -> None:
        """Set the reserve by the pace since the last time."""
        now = self.clock()
        elapsed = now - self.counted_at
        if elapsed >= RESERVE_SECONDS / 10:
            at_this_pace = int(self.given * RESERVE_SECONDS / elapsed)
            self.reserve = min(at_this_pace, MAX_RESERVE * self.size)
            self.given, self.counted_at = 0, now

    def demand(self, *, waiting: int, settling: int, early: bool) -> int:
        """How many more claims are worth having; none or less while too many are being settled.

        `early`: all that wait have yet to come due, so nobody could start them sooner, and what
        is claimed next comes due later still.
        """
        reserve = MAX_RESERVE * self.size if early else self.reserve
        demand = self.free + reserve - waiting
        if demand < self.reserve / 2:
            return 0  # a look for a few is not worth its cost while the pace is high
        return min(demand, MAX_SETTLING * self.size - settling)

    def demand_at_once(self, *, due: int, settling: int) -> int:
        """How many claims could start at once; none or less while too many are being settled."""
        return min(self.free - due, MAX_SETTLING * self.size - settling)
