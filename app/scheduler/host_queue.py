"""The due claims that may start, of which each host has a turn."""

from collections import deque
from collections.abc import Iterable, Iterator

from app.scheduler.held_claim import HeldClaim


class HostQueue:
    """A queue of claims in which the hosts take turns, and claims for one host keep their order.

    Many claims for one host hold up those for another by one claim.
    """

    def __init__(self) -> None:
        self.first: deque[HeldClaim] = deque()
        """Claims that come before all others."""
        self.by_host: dict[str, deque[HeldClaim]] = {}
        """The other claims; the host at the front has the next turn."""

    def __repr__(self) -> str:
        return f"<HostQueue: {len(self.first)} first, {self.counts()}>"

    def __bool__(self) -> bool:
        return bool(self.first or self.by_host)

    def __len__(self) -> int:
        return len(self.first) + sum(map(len, self.by_host.values()))

    def __iter__(self) -> Iterator[HeldClaim]:
        yield from self.first
        for claims in self.by_host.values():
            yield from claims

    def counts(self) -> dict[str, int]:
        """Return how many claims each host has, apart from those that come first."""
        return {host: len(claims) for host, claims in self.by_host.items()}

    def append(self, held: HeldClaim) -> None:
        """Put a claim behind the others for its host."""
        claims = self.by_host.get(held.host)
        if claims is None:
            claims = self.by_host[held.host] = deque()
        claims.append(held)

    def put_first(self, claims: Iterable[HeldClaim]) -> None:
        """Put claims, in this order, before all others."""
        self.first.extendleft(reversed(tuple(claims)))

    def next(self) -> HeldClaim:
        """Return the claim that `popleft` would take out.

        Raises:
            StopIteration: the queue is empty.
        """
        return self.first[0] if self.first else next(iter(self.by_host.values()))[0]

    def popleft(self) -> HeldClaim:
        """Take out the next claim; the turn goes to another host.

        Raises:
            IndexError: the queue is empty.
        """
        if self.first:
            return self.first.popleft()
        host = next(iter(self.by_host), None)
        if host is None:
            raise IndexError("no claim waits")
        claims = self.by_host[host]
        held = claims.popleft()
        if not claims or len(self.by_host) > 1:
            del self.by_host[host]
            if claims:
                self.by_host[host] = claims
        return held

    def pop(self) -> HeldClaim:
        """Take out the last claim for the host that has the most.

        Raises:
            IndexError: the queue is empty.
        """
        if not self.by_host:
            return self.first.pop()
        host = max(self.by_host, key=lambda one: len(self.by_host[one]))
        held = self.by_host[host].pop()
        if not self.by_host[host]:
            del self.by_host[host]
        return held

    def remove(self, held: HeldClaim) -> None:
        """Take a claim out, if the claim is here."""
        for claims in (self.first, self.by_host.get(held.host, deque[HeldClaim]())):
            if held in claims:
                claims.remove(held)
        if not self.by_host.get(held.host, True):
            del self.by_host[held.host]

    def clear(self) -> None:
        self.first.clear()
        self.by_host.clear()
