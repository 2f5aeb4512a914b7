"""The claims that are not due yet."""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from app.db.clock import DatabaseClock
from app.scheduler.held_claim import HeldClaim


class Sleeping:
    """The claims that are not due yet, by instant and execution."""

    def __init__(self, clock: DatabaseClock) -> None:
        self.clock = clock
        self.heap: list[tuple[float, int, HeldClaim]] = []
        """With the instant of each in Unix seconds."""

    def __repr__(self) -> str:
        return f"<Sleeping: {len(self)} claims>"

    def __len__(self) -> int:
        return len(self.heap)

    def __iter__(self) -> Iterator[HeldClaim]:
        return (held for _, _, held in self.heap)

    @property
    def first(self) -> HeldClaim:
        """The claim that is due next.

        Raises:
            IndexError: there is none.
        """
        return self.heap[0][2]

    def seconds(self) -> float:
        """Return in how many seconds the first of them is due; infinity without any."""
        return self.clock.seconds_until(self.heap[0][0]) if self.heap else float("inf")

    def add(self, claims: Iterable[HeldClaim]) -> list[HeldClaim]:
        """Add claims, but return those that are due already, in their order.

        Of many most are, and a heap would cost these more than all else until they start.
        """
        now = self.clock.timestamp()
        due = []
        for held in claims:
            entry = (held.claim.next_run.timestamp(), held.claim.execution_id, held)
            if entry[0] <= now:
                due.append(entry)
            else:
                heappush(self.heap, entry)
        due.sort()
        return [held for _, _, held in due]

    def take_due(self) -> Iterator[HeldClaim]:
        """Take out the claims that have come due."""
        while self.heap and self.clock.seconds_until(self.heap[0][0]) <= 0:
            yield heappop(self.heap)[2]

    def remove(self, held: HeldClaim) -> None:
        """Take a claim out, if it is here."""
        self.heap = [one for one in self.heap if one[2] is not held]
        heapify(self.heap)

    def clear(self) -> None:
        self.heap.clear()
