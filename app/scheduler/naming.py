"""Claims that are due and whose names are looked up: they wait without a slot.

So a name server that is silent takes no slot from anybody, however many names it has.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

from app.scheduler.held_claim import HeldClaim
from app.scheduler.hosts import defer_seconds

MAX_WAITING = 1000
"""How many due claims may wait for names; more are deferred. No more names are looked up ahead."""
MAX_FOR_A_NAME = 25
"""How many due claims may wait for one name; more are deferred."""


class Names(Protocol):
    """What the executors know of names."""

    def is_settled(self, name: str) -> bool:
        """Whether an execution would not have to wait for the name."""
        ...

    def is_crowded(self, name: str) -> bool:
        """Whether so many names like it are waited for that it had better come later."""
        ...

    async def settle(self, name: str) -> None:
        """Wait until the name has an address, or until it is known that it has none."""
        ...

    def place(self, name: str) -> str:
        """Name the address behind a name; empty: not known."""
        ...


class Naming:
    """Holds the claims whose names are not known yet, and looks these up."""

    def __init__(
        self,
        names: Names,
        tasks: asyncio.TaskGroup,
        *,
        named: Callable[[Iterable[HeldClaim]], None],
    ) -> None:
        self.names = names
        self.tasks = tasks
        self.named = named
        """Takes the claims that need not wait any longer."""
        self.waiting: dict[str, list[HeldClaim]] = {}
        """By the name that they wait for."""
        self.count = 0
        """How many claims wait."""
        self.deferred = 0
        """How many were put off since nothing waited."""
        self.lookups: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[HeldClaim]:
        return chain.from_iterable(self.waiting.values())

    def expect(self, flight: HeldClaim) -> None:
        """Look up ahead what the claim will have to know, unless too much is asked already."""
        for name in flight.names:
            if self.names.is_settled(name) or name in self.waiting:
                continue
            if len(self.waiting) < MAX_WAITING and not self.names.is_crowded(name):
                self.begin(name)

    def holds(self, flight: HeldClaim) -> bool | None:
        """Have the claim wait for its names; False: it can start, None: it is to come again later.

        A claim waits for each of its names once, whatever comes of that.
        """
        for name in flight.names[flight.names_waited_for :]:
            if self.names.is_settled(name):
                continue
            waiting = self.waiting.get(name)
            if self.count >= MAX_WAITING or (waiting and len(waiting) >= MAX_FOR_A_NAME):
                return None
            if waiting is None:
                if self.names.is_crowded(name):
                    return None
                waiting = self.begin(name)
            waiting.append(flight)
            self.count += 1
            return True
        flight.places = tuple(filter(None, dict.fromkeys(map(self.names.place, flight.names))))
        return False

    def begin(self, name: str) -> list[HeldClaim]:
        waiting = self.waiting[name] = []
        lookup = self.tasks.create_task(self.look_up(name), name=f"look up {name}")
        self.lookups.add(lookup)
        lookup.add_done_callback(self.lookups.discard)
        return waiting

    async def look_up(self, name: str) -> None:
        await self.names.settle(name)
        flights = self.waiting.pop(name, [])
        self.count -= len(flights)
        if not self.waiting:
            self.deferred = 0
        for flight in flights:
            flight.names_waited_for = flight.names.index(name) + 1
        if flights:
            self.named(flights)

    def defer_seconds(self, *, jitter: float) -> float:
        """Return when a claim that found too much waiting is worth claiming again."""
        self.deferred += 1
        return defer_seconds(self.deferred, jitter=jitter)

    def remove(self, flight: HeldClaim) -> None:
        """Let the claim wait no longer, if it does."""
        for flights in self.waiting.values():
            if flight in flights:
                flights.remove(flight)
                self.count -= 1

    def close(self) -> None:
        """Look nothing up any more; nothing waits any more either."""
        self.waiting.clear()
        self.count = 0
        for lookup in tuple(self.lookups):
            lookup.cancel()
