"""Decides which due claims start, which wait, and which are deferred so that others get a turn.

A due claim starts if there is a slot that its host may have. Otherwise the claim is parked until
there is one, or deferred: released, to be claimed again seconds later.
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from app.scheduler.deferral import Admission
from app.scheduler.held_claim import HeldClaim
from app.scheduler.host_queue import HostQueue
from app.scheduler.prerequisites import Prerequisite
from app.scheduler.shares import ADDRESS_SHARE, SHARE, Shares
from app.timers import Monotonic

RESERVE_SECONDS = 0.1
"""How long the reserve lasts at the present pace. The reserve is the number of claims that are held
in addition to the free slots, so that no slot is idle during a look."""
MAX_RESERVE = 4
"""The largest reserve, in multiples of the slots. If the instance dies, all claims in the reserve
are late: others can claim them only when their leases end."""
MAX_SETTLING = 10
"""The most ended executions that may wait for Postgres to take their results, in multiples of the
slots; beyond that no job is claimed."""


class Slots:
    """The slots of one instance: which hosts have them or may have one, and how many jobs to claim.

    No host and no address gets all slots, if there are ten or more: see `Shares`. The owner of a
    domain can make any number of hosts, so their addresses have a share as well, a larger one: a
    host that hangs must leave some slots of its address to the other hosts there.

    While executions are short, a few claims beyond the free slots are worth holding: the reserve.
    While executions are long, another instance could start these claims sooner.
    """

    def __init__(self, size: int, clock: Monotonic) -> None:
        self.size = size
        self.clock = clock
        self.taken = 0
        self.hosts = Shares(clock)
        self.addresses = Shares(clock, share=min(max(size - 1, SHARE), ADDRESS_SHARE))
        self.reserve = 0
        """How many claims to hold in addition to the free slots."""
        self.ended = 0
        """Executions that ended since `counted_at`."""
        self.ended_at = self.counted_at = clock()

    def __repr__(self) -> str:
        return f"<Slots: {self.taken} of {self.size} taken, reserve {self.reserve}>"

    @property
    def free(self) -> int:
        return self.size - self.taken

    def admit(self, host: str, addresses: Sequence[str] = ()) -> Admission:
        """Decide about a due claim for a host at these addresses."""
        if self.may_have_slot(host, addresses):
            return "start"
        return "defer" if self.is_stuck(host, addresses) else "park"

    def may_have_slot(self, host: str, addresses: Sequence[str] = ()) -> bool:
        """Return whether there is a slot for the host, given its addresses."""
        free = self.size - self.taken
        if free <= 0 or self.hosts.is_full(host, free=free):
            return False
        for address in addresses:  # noqa: SIM110 - a generator costs as much as all else here
            if self.addresses.is_full(address, free=free):
                return False
        return True

    def is_stuck(self, host: str, addresses: Sequence[str] = ()) -> bool:
        """Return whether the host or one of its addresses is stuck, see `STUCK_SECONDS`."""
        free = self.free
        if self.hosts.is_stuck(host, free=free):
            return True
        return any(self.addresses.is_stuck(address, free=free) for address in addresses)

    def defer_seconds(self, host: str, addresses: Sequence[str] = (), *, jitter: float) -> float:
        """Return for how many seconds to defer a claim for a stuck host; `jitter` in [0, 1)."""
        for address in addresses:
            if self.addresses.is_stuck(address, free=self.free):
                return self.addresses.defer_seconds(address, jitter=jitter)
        return self.hosts.defer_seconds(host, jitter=jitter)

    def grant(self, host: str, addresses: Sequence[str] = ()) -> None:
        """Give a slot to a claim for a host at these addresses."""
        if not self.taken and self.clock() - self.ended_at > RESERVE_SECONDS:
            self.ended, self.counted_at = 0, self.clock()  # a rest says nothing about the pace
        self.taken += 1
        self.hosts.begin(host)
        for address in addresses:
            self.addresses.begin(address)

    def take_back(self, host: str, addresses: Sequence[str] = ()) -> None:
        """Take a slot back; host and addresses are those that the slot was granted for."""
        self.ended += 1
        self.ended_at = now = self.clock()
        self.taken -= 1
        self.hosts.end(host, now=now)
        for address in addresses:
            self.addresses.end(address, now=now)

    @property
    def counted_seconds(self) -> float:
        """Seconds since the pace was last set."""
        return self.clock() - self.counted_at

    def update_pace(self) -> None:
        """Set the reserve by how many executions ended since it was set, 10 ms ago or earlier."""
        now = self.clock()
        elapsed = now - self.counted_at
        if elapsed >= RESERVE_SECONDS / 10:
            at_this_pace = int(self.ended * RESERVE_SECONDS / elapsed)
            self.reserve = min(at_this_pace, MAX_RESERVE * self.size)
            self.ended, self.counted_at = 0, now

    def demand(self, *, waiting: int, settling: int, early: bool) -> int:
        """Return how many more jobs to claim; 0 or a negative number for none.

        Less than half the reserve counts as none: such a look costs more than it brings.
        `early`: nothing is executing and no claim is due. As no other instance could start these
        claims sooner, the reserve may then be as large as `MAX_RESERVE` allows.
        """
        reserve = MAX_RESERVE * self.size if early else self.reserve
        demand = self.free + reserve - waiting
        if demand < self.reserve / 2:
            return 0  # a look for a few is not worth its cost while the pace is high
        return min(demand, self.room_to_settle(settling))

    def room_to_settle(self, settling: int) -> int:
        """Return how many more may be claimed before `MAX_SETTLING` is reached; negative beyond."""
        return MAX_SETTLING * self.size - settling

    def demand_at_once(self, *, due: int, settling: int) -> int:
        """Return how many more claims could start at once; 0 or a negative number for none."""
        return min(self.free - due, self.room_to_settle(settling))

    def demand_for_next_slots(self, *, waiting: int, settling: int) -> int:
        """Return how many more claims to hold for the next slots; 0 or a negative number for none.

        As many as there are slots, less `waiting`: the claims here that go before these.
        """
        return min(self.size - waiting, self.room_to_settle(settling))


class DueClaims:
    """The due claims that wait for a slot: the hosts take turns, see `HostQueue`.

    Those of a raised priority have a place of their own, by their rank: the first of them goes
    before all that came due later than its rank, whichever host has its turn. A claim whose host
    has its share is parked in a queue for that host, of which only the first claim is looked at. A
    claim that lacks a prerequisite is parked in that `Prerequisite`.
    """

    def __init__(
        self,
        slots: Slots,
        prerequisites: Sequence[Prerequisite],
        *,
        defer: Callable[[HeldClaim, float], None],
        jitter: Callable[[], float],
    ) -> None:
        self.slots = slots
        self.prerequisites = prerequisites
        """What a claim waits for before its start, in this order."""
        self.of_every_claim = tuple(one for one in prerequisites if one.is_of_every_claim)
        self.defer = defer
        """Releases a claim, to be claimed again after so many seconds."""
        self.jitter = jitter
        """Returns numbers in [0, 1)."""
        self.queue = HostQueue()
        self.raised: list[HeldClaim] = []
        """The claims of a raised priority, by rank."""
        self.parked: dict[str, deque[HeldClaim]] = {}
        """The claims that are parked for a slot, by host."""

    def __bool__(self) -> bool:
        return bool(self.queue or self.raised) or any(self.parked.values())

    def __len__(self) -> int:
        """Return how many claims wait for a slot and for no prerequisite."""
        return len(self.queue) + len(self.raised) + sum(map(len, self.parked.values()))

    def __repr__(self) -> str:
        parked = {host: len(claims) for host, claims in self.parked.items()}
        return (
            f"<DueClaims: {len(self.queue)} in the queue, {len(self.raised)} raised, "
            f"parked for hosts {parked}, "
            f"{self.unprepared} lack a prerequisite>"
        )

    @property
    def unprepared(self) -> int:
        """How many claims are parked for a prerequisite, and need no slot yet."""
        return sum(one.count for one in self.prerequisites)

    def add(self, held: HeldClaim) -> None:
        """Add a claim that has come due."""
        if held.claim.priority:
            insort(self.raised, held, key=rank_of)
        else:
            self.queue.append(held)

    def resume(self, claims: Iterable[HeldClaim]) -> None:
        """Put claims back whose prerequisite was waited for, at the front of the queue.

        Raised and parked claims may still go before these, see `take_next`.
        """
        self.queue.put_first(claims)

    def remove(self, held: HeldClaim) -> None:
        """Take a claim out, wherever the claim waits."""
        self.queue.remove(held)
        for claims in (self.raised, *self.parked.values()):
            if held in claims:
                claims.remove(held)
        for prerequisite in self.prerequisites:
            prerequisite.remove(held)

    def take_all(self) -> list[HeldClaim]:
        """Take out all claims, those that wait for a prerequisite too, and close these."""
        claims = [*chain(self.queue, self.raised, *self.parked.values(), *self.prerequisites)]
        self.queue.clear()
        self.raised.clear()
        self.parked.clear()
        for prerequisite in self.prerequisites:
            prerequisite.close()
        return claims

    def take_surplus(self, most: int) -> Iterator[HeldClaim]:
        """Take out the claims beyond `most` of those that wait for a slot.

        Parked ones first, then those in the queue, then raised ones; of each the latest first.
        """
        queues: tuple[deque[HeldClaim] | HostQueue | list[HeldClaim], ...] = (
            *self.parked.values(),
            self.queue,
            self.raised,
        )
        for claims in queues:
            while len(self) > most and claims:
                yield claims.pop()

    def take_next(self) -> HeldClaim | None:
        """Take out a claim that may start now; return None without any.

        Raised claims go first, unless the first in the queue has an earlier rank, then parked
        claims, then the queue. Claims of hosts that are stuck are deferred on the way.
        """
        held = self.take_next_raised() if self.raised else None
        if held is None and self.parked:
            held = self.take_next_parked()
        return self.take_next_in_queue() if held is None else held

    def take_next_raised(self) -> HeldClaim | None:
        """Take out the first raised claim that may start; park or defer those before."""
        while self.raised and self.slots.free > 0:
            if self.queue and self.queue.next().claim.rank < self.raised[0].claim.rank:
                return None
            held = self.raised.pop(0)
            if self.lacks_prerequisite(held):
                continue
            match self.slots.admit(held.host, held.addresses):
                case "start":
                    return held
                case "defer":
                    self.defer_stuck(held)
                case "park":
                    self.park_raised(held)
        return None

    def park_raised(self, held: HeldClaim) -> None:
        """Park a raised claim for its host, at the place that its rank has there."""
        parked = self.parked.setdefault(held.host, deque())
        parked.insert(bisect_right(parked, held.claim.rank, key=rank_of), held)

    def take_next_parked(self) -> HeldClaim | None:
        """Take out the first parked claim whose host may have a slot now."""
        if self.slots.free <= 0:
            return None
        for host, claims in tuple(self.parked.items()):
            if not claims:
                del self.parked[host]
                continue
            match self.slots.admit(host, claims[0].addresses):
                case "start":
                    return claims.popleft()
                case "defer":
                    del self.parked[host]
                    for held in claims:
                        self.defer_stuck(held)
                case "park":
                    pass
        return None

    def take_next_in_queue(self) -> HeldClaim | None:
        """Take out the first claim of the queue that may start; park or defer those before."""
        slots, parked = self.slots, self.parked
        while slots.taken < slots.size and self.queue:
            held = self.queue.popleft()
            if self.lacks_prerequisite(held):
                continue
            if held.host in parked:
                parked[held.host].append(held)
            elif slots.may_have_slot(held.host, held.addresses):
                return held
            elif slots.is_stuck(held.host, held.addresses):
                self.defer_stuck(held)
            else:
                parked[held.host] = deque((held,))
        return None

    def prerequisites_of(self, held: HeldClaim) -> Sequence[Prerequisite]:
        """Return the prerequisites that a claim may have to wait for."""
        return self.prerequisites if held.needs_loads else self.of_every_claim

    def lacks_prerequisite(self, held: HeldClaim) -> bool:
        """Park or defer a claim that lacks a prerequisite; return whether that was done."""
        for prerequisite in self.prerequisites_of(held):
            admission = prerequisite.admit(held)
            if admission == "start":
                continue
            if admission == "defer":
                self.defer(held, prerequisite.deferrals.next_seconds(jitter=self.jitter()))
            return True
        return False

    def defer_stuck(self, held: HeldClaim) -> None:
        """Defer a claim for a host that is stuck."""
        seconds = self.slots.defer_seconds(held.host, held.addresses, jitter=self.jitter())
        self.defer(held, seconds)


def rank_of(held: HeldClaim) -> datetime:
    """Return the place of a claim among due ones: the earliest goes first."""
    return held.claim.rank
