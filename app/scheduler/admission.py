"""Decides which due claims start, which wait, and which are deferred so that others get a turn.

A due claim starts if there is a slot that its host may have. Otherwise the claim is parked until
there is one, or deferred: released, to be claimed again seconds later.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal, Protocol

from app.scheduler.held_claim import HeldClaim
from app.timers import Monotonic

SHARE = 9
"""The most slots that a host may have, in multiples of the free slots. One host alone gets 9/10 of
the slots, two get 9/19 each, and some are always left for a host that has none (the dynamic
thresholds of shared switch buffers, after Choudhury and Hahne)."""
ADDRESS_SHARE = 19
"""The most slots that an address may have, in multiples of the free slots: one address alone gets
95 of 100. An instance with less than 20 slots has a smaller multiple, but at least `SHARE`."""
STUCK_SECONDS = 0.25
"""A host that has its share and has ended no execution for this long is stuck: claims for the host
are deferred."""
MIN_DEFER_SECONDS = 1.0
"""The shortest deferral, before jitter: a claim that comes back sooner would find the same."""
MAX_DEFER_SECONDS = 30.0
"""The longest deferral, before jitter: so long a job may not notice that its host answers again."""
DEFERRALS_PER_SECOND = 100.0
"""The rate at which deferred claims may come back, as each costs the database a claim and a
settlement. The more claims are deferred, the longer each is."""
RESERVE_SECONDS = 0.1
"""How long the reserve lasts at the present pace. The reserve is the number of claims that are held
in addition to the free slots, so that no slot is idle during a look."""
MAX_RESERVE = 4
"""The largest reserve, in multiples of the slots. If the instance dies, all claims in the reserve
are late: others can claim them only when their leases end."""
MAX_SETTLING = 10
"""The most ended executions that may wait for Postgres to take their results, in multiples of the
slots; beyond that no job is claimed."""


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


class Shares:
    """Counts how many slots each host has, and how many of its claims were deferred.

    Another one counts by address instead of by host.
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
        if not self.executing[host]:
            self.moved_at[host] = self.clock()
        self.executing[host] += 1

    def end(self, host: str) -> None:
        """Count an execution that ended; a host without any other is forgotten."""
        self.executing[host] -= 1
        self.deferred.pop(host, None)
        if self.executing[host]:
            self.moved_at[host] = self.clock()
        else:
            del self.executing[host], self.moved_at[host]

    def is_full(self, host: str, *, free: int) -> bool:
        """Return whether the host has its share, given how many slots are free."""
        return 0 < self.share * free <= self.executing[host]

    def is_stuck(self, host: str, *, free: int) -> bool:
        """Return whether the host has its share and ended nothing for `STUCK_SECONDS`."""
        if not self.is_full(host, free=free):
            return False
        return self.clock() - self.moved_at[host] >= STUCK_SECONDS

    def defer_seconds(self, host: str, *, jitter: float) -> float:
        """Return for how many seconds to defer a claim for a stuck host; `jitter` in [0, 1)."""
        self.deferred[host] += 1
        return defer_seconds(self.deferred[host], jitter=jitter)


class Slots:
    """The slots of one instance: which hosts have them or may have one, and how many jobs to claim.

    No host and no address gets all slots: see `Shares`. The owner of a domain can make any number
    of hosts, so their addresses have a share as well, a larger one: a host that hangs
    must leave some slots of its address to the other hosts there.

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
        free = self.free
        if free <= 0 or self.hosts.is_full(host, free=free):
            return False
        return not any(self.addresses.is_full(address, free=free) for address in addresses)

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
        self.ended_at = self.clock()
        self.taken -= 1
        self.hosts.end(host)
        for address in addresses:
            self.addresses.end(address)

    @property
    def counted_seconds(self) -> float:
        """Seconds since the pace was last set."""
        return self.clock() - self.counted_at

    def update_pace(self) -> None:
        """Set the reserve by how many executions ended since the last time, at least 10 ms ago."""
        now = self.clock()
        elapsed = now - self.counted_at
        if elapsed >= RESERVE_SECONDS / 10:
            at_this_pace = int(self.ended * RESERVE_SECONDS / elapsed)
            self.reserve = min(at_this_pace, MAX_RESERVE * self.size)
            self.ended, self.counted_at = 0, now

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
        """Return how many more claims could start at once; 0 or a negative number for none."""
        return min(self.free - due, MAX_SETTLING * self.size - settling)


class Prerequisite(Protocol):
    """Something that a due claim may need before the claim can have a slot, such as an address."""

    deferrals: Deferrals
    """The claims in a row that were deferred, as too many wait for this prerequisite."""

    def __iter__(self) -> Iterator[HeldClaim]: ...

    @property
    def count(self) -> int:
        """How many due claims are parked here."""
        ...

    def expect(self, held: HeldClaim) -> None:
        """Begin ahead what the claim will need."""
        ...

    def admit(self, held: HeldClaim) -> Admission:
        """Decide about a due claim; a parked claim is kept here until the prerequisite is met."""
        ...

    def remove(self, held: HeldClaim) -> None:
        """Forget a claim, whether or not the claim is parked here."""
        ...

    def close(self) -> None:
        """Forget all parked claims, and begin nothing more."""
        ...


class DueClaims:
    """The due claims that wait for a slot, in the order in which they came due.

    A claim whose host has its share is parked in a queue for that host, of which only the first
    claim is looked at. A claim that lacks a prerequisite is parked there.
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
        self.defer = defer
        """Releases a claim, to be claimed again after so many seconds."""
        self.jitter = jitter
        """Returns numbers in [0, 1)."""
        self.queue: deque[HeldClaim] = deque()
        self.parked: dict[str, deque[HeldClaim]] = {}
        """The claims that are parked for a slot, by host."""

    def __len__(self) -> int:
        """Return how many claims wait for a slot and for no prerequisite."""
        return len(self.queue) + sum(map(len, self.parked.values()))

    def __repr__(self) -> str:
        parked = {host: len(claims) for host, claims in self.parked.items()}
        return (
            f"<DueClaims: {len(self.queue)} in the queue, parked for hosts {parked}, "
            f"{self.unprepared} lack a prerequisite>"
        )

    @property
    def unprepared(self) -> int:
        """How many claims are parked for a prerequisite, and need no slot yet."""
        return sum(one.count for one in self.prerequisites)

    def resume(self, claims: Iterable[HeldClaim]) -> None:
        """Put claims that were parked for a prerequisite back, in front of all others."""
        self.queue.extendleft(reversed(tuple(claims)))

    def remove(self, held: HeldClaim) -> None:
        """Take a claim out, wherever the claim waits."""
        for claims in (self.queue, *self.parked.values()):
            if held in claims:
                claims.remove(held)
        for prerequisite in self.prerequisites:
            prerequisite.remove(held)

    def take_all(self) -> list[HeldClaim]:
        """Take out all claims, those that wait for a prerequisite too, and close these."""
        claims = [*chain(self.queue, *self.parked.values(), *self.prerequisites)]
        self.queue.clear()
        self.parked.clear()
        for prerequisite in self.prerequisites:
            prerequisite.close()
        return claims

    def take_surplus(self, most: int) -> Iterator[HeldClaim]:
        """Take out the claims beyond `most` of those that wait for a slot, the latest first."""
        for claims in (*self.parked.values(), self.queue):
            while len(self) > most and claims:
                yield claims.pop()

    def take_next(self) -> HeldClaim | None:
        """Take out a claim that may start now, parked claims first; return None without any.

        Claims of hosts that are stuck are deferred on the way.
        """
        return self.take_next_parked() or self.take_next_in_queue()

    def take_next_parked(self) -> HeldClaim | None:
        """Take out the first parked claim whose host may have a slot now."""
        for host, claims in tuple(self.parked.items()) if self.slots.free > 0 else ():
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
        while self.queue and self.slots.free > 0:
            held = self.queue.popleft()
            if self.lacks_prerequisite(held):
                continue
            if held.host in self.parked:
                self.parked[held.host].append(held)
                continue
            match self.slots.admit(held.host, held.addresses):
                case "start":
                    return held
                case "defer":
                    self.defer_stuck(held)
                case "park":
                    self.parked[held.host] = deque((held,))
        return None

    def lacks_prerequisite(self, held: HeldClaim) -> bool:
        """Park or defer a claim that lacks a prerequisite; return whether that was done."""
        for prerequisite in self.prerequisites:
            match prerequisite.admit(held):
                case "park":
                    return True
                case "defer":
                    self.defer(held, prerequisite.deferrals.next_seconds(jitter=self.jitter()))
                    return True
                case "start":
                    pass
        return False

    def defer_stuck(self, held: HeldClaim) -> None:
        """Defer a claim for a host that is stuck."""
        seconds = self.slots.defer_seconds(held.host, held.addresses, jitter=self.jitter())
        self.defer(held, seconds)
