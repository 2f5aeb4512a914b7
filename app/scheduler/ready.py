"""The claims that are due and wait for a slot, and which of them is next."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from app.scheduler.held_claim import HeldClaim
from app.scheduler.slots import Slots


class Holder(Protocol):
    """What due claims have to wait for before they can have a slot."""

    def __iter__(self) -> Iterator[HeldClaim]: ...

    @property
    def count(self) -> int:
        """How many due claims wait."""
        ...

    def expect(self, flight: HeldClaim) -> None:
        """Begin ahead what the claim will have to wait for."""
        ...

    def holds(self, flight: HeldClaim) -> bool | None:
        """Return True if the claim waits here from now on, and False if it need not wait.

        None: too many wait here already, so the claim is to be given back for `defer_seconds`.
        """
        ...

    def defer_seconds(self, *, jitter: float) -> float:
        """Return when a claim that found too many waiting is worth claiming again."""
        ...

    def remove(self, flight: HeldClaim) -> None:
        """Let the claim wait no longer, if it does."""
        ...

    def close(self) -> None:
        """Let nothing wait any more."""
        ...


class Ready:
    """The due claims, in the order in which they came due.

    A claim that finds its host at its share is *parked*: moved to a queue for that host, of which
    only the first claim is looked at from then on. One that needs names or certificates first is
    with a `Holder` meanwhile.
    """

    def __init__(self, slots: Slots, *, defer: Callable[[HeldClaim, float], None]) -> None:
        self.slots = slots
        self.defer = defer
        """Gives a claim back, to be claimed again in so many seconds."""
        self.holders: Sequence[Holder] = ()
        """In the order in which a claim waits for them."""
        self.flights: deque[HeldClaim] = deque()
        self.parked: dict[str, deque[HeldClaim]] = {}
        """By their host."""

    def __len__(self) -> int:
        return len(self.flights) + sum(map(len, self.parked.values()))

    def __iter__(self) -> Iterator[HeldClaim]:
        return chain(self.flights, *self.parked.values())

    @property
    def held(self) -> int:
        """How many wait without needing a slot: for a name, or for certificates."""
        return sum(holder.count for holder in self.holders)

    def let_go(self, flights: Iterable[HeldClaim]) -> None:
        """Take back those that have waited for what they need; they are the first again."""
        self.flights.extendleft(reversed(tuple(flights)))

    def remove(self, flight: HeldClaim) -> None:
        """Let the claim wait no longer."""
        for flights in (self.flights, *self.parked.values()):
            if flight in flights:
                flights.remove(flight)
        for holder in self.holders:
            holder.remove(flight)

    def cleared(self) -> list[HeldClaim]:
        """Have nothing wait any more; return what did."""
        flights = [*self, *chain.from_iterable(self.holders)]
        self.flights.clear()
        self.parked.clear()
        for holder in self.holders:
            holder.close()
        return flights

    def surplus(self, most: int) -> Iterator[HeldClaim]:
        """Let go of those on top of `most`, the latest first."""
        for flights in (*self.parked.values(), self.flights):
            while len(self) > most and flights:
                yield flights.pop()

    def next(self, *, jitter: Callable[[], float]) -> HeldClaim | None:
        """Take the one that waits longest among those whose host may have a slot.

        Where the host is stuck they are put off. `jitter` gives numbers in [0, 1).
        """
        return self.next_parked(jitter) or self.next_of_all(jitter)

    def next_parked(self, jitter: Callable[[], float]) -> HeldClaim | None:
        for host, flights in tuple(self.parked.items()) if self.slots.free > 0 else ():
            if not flights:
                del self.parked[host]
            elif self.slots.admits(host, flights[0].places):
                return flights.popleft()
            elif self.slots.is_stuck(host, flights[0].places):
                del self.parked[host]
                for flight in flights:
                    self.defer_stuck(flight, jitter())
        return None

    def next_of_all(self, jitter: Callable[[], float]) -> HeldClaim | None:
        while self.flights and self.slots.free > 0:
            flight = self.flights.popleft()
            if self.has_to_wait(flight, jitter):
                continue
            if flight.host in self.parked:
                self.parked[flight.host].append(flight)
            elif self.slots.admits(flight.host, flight.places):
                return flight
            elif self.slots.is_stuck(flight.host, flight.places):
                self.defer_stuck(flight, jitter())
            else:
                self.parked[flight.host] = deque((flight,))
        return None

    def has_to_wait(self, flight: HeldClaim, jitter: Callable[[], float]) -> bool:
        """Whether the claim cannot start yet; it waits then, or is put off where too many do."""
        for holder in self.holders:
            held = holder.holds(flight)
            if held is None:
                self.defer(flight, holder.defer_seconds(jitter=jitter()))
            if held is not False:
                return True
        return False

    def defer_stuck(self, flight: HeldClaim, jitter: float) -> None:
        self.defer(flight, self.slots.defer_seconds(flight.host, flight.places, jitter=jitter))
