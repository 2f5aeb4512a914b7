"""Room for executions, and how many claims are worth having in hand."""

from collections.abc import Callable, Sequence
from time import monotonic

from app.scheduler.hosts import SHARE, Hosts

RESERVE_SECONDS = 0.1
"""How long the reserve lasts at the present pace: the claims held in addition to the free slots,
so that no slot is idle during a look."""
MAX_RESERVE = 4
"""The largest reserve, in multiples of the slots. If the instance dies, all claims in the reserve
are late: others can claim them only when their leases end."""
PLACE_SHARE = 19
"""What `SHARE` is for a host, this is for an address: one address gets 95 of 100 slots. With less
than 20 slots it is smaller, but at least `SHARE`."""
MAX_SETTLING = 10
"""How many ended executions may wait for Postgres to take their results, in multiples of the slots;
with more, no job is claimed."""


class Slots:
    """Counts the slots that are taken. No host and no address gets them all: see `Hosts`.

    The owner of a domain can make any number of hosts. So their addresses, called places, have a
    share as well. It is larger than a host's: a host that hangs must leave some slots of its
    address to the other hosts there.

    While executions are short, it is worth holding a few claims more than there are free slots, the
    reserve. While they are long it is not: another instance could start those claims at once.
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
        """Return how many more jobs to claim; 0 or a negative number for none.

        `early`: nothing is executing and no claim is due. As no other instance could start these
        claims sooner, the reserve may then be as large as `MAX_RESERVE` allows.
        """
        reserve = MAX_RESERVE * self.size if early else self.reserve
        demand = self.free + reserve - waiting
        if demand < self.reserve / 2:
            return 0  # a look for a few is not worth its cost while the pace is high
        return min(demand, MAX_SETTLING * self.size - settling)

    def demand_at_once(self, *, due: int, settling: int) -> int:
        """How many claims could start at once; none or less while too many are being settled."""
        return min(self.free - due, MAX_SETTLING * self.size - settling)
