"""Room for executions, and how many claims are worth having in hand."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from uuid import UUID

from app.scheduler.inflight import InFlight

RESERVE_SECONDS = 0.1
"""Claims for so long at the present pace are kept waiting, so that no slot idles during a look."""


class Slots:
    """The claims in hand, each of them waiting for a slot, executing, or being settled.

    While executions are short, a few more are claimed than there are slots for; while they are
    long, none is: another instance could start it at once.
    """

    def __init__(self, size: int, *, freed: Callable[[], None]) -> None:
        self.size = size
        self.freed = freed
        """Called when it is worth claiming again after there was no room."""
        self.claims: dict[UUID, InFlight] = {}
        self.taken = 0
        self.waiting: deque[asyncio.Future[bool]] = deque()
        self.closed = False
        self.starved = False
        self.reserve = 0
        self.given = 0
        self.counted_at = monotonic()

    def __iter__(self) -> Iterator[InFlight]:
        return iter(tuple(self.claims.values()))

    def __len__(self) -> int:
        return len(self.claims)

    def room(self) -> int:
        """Return how many jobs to claim now; when 0, `freed` is called once there is room."""
        self.reckon()
        wanted = self.wanted
        self.starved = wanted <= 0
        return max(wanted, 0)

    @property
    def wanted(self) -> int:
        """How many more claims are worth having; below zero while too many are being settled."""
        settling = len(self.claims) - self.taken - len(self.waiting)
        wanted = self.size + self.reserve - self.taken - len(self.waiting)
        if wanted < self.reserve / 2:
            return 0  # a look for a few is not worth its cost while the pace is high
        return min(wanted, 2 * self.size - settling)

    def reckon(self) -> None:
        """Set the reserve by the pace since the last time."""
        now = monotonic()
        elapsed = now - self.counted_at
        if elapsed >= RESERVE_SECONDS / 10:
            self.reserve = min(int(self.given * RESERVE_SECONDS / elapsed), self.size)
            self.given, self.counted_at = 0, now

    async def take(self) -> bool:
        """Wait for a slot; False: there is none any more, the claim is to be given back."""
        if self.closed:
            return False
        if self.taken < self.size:
            self.taken += 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        return await turn

    def give(self) -> None:
        """Give a slot back, to the claim that waits longest if there is one."""
        self.given += 1
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                break
        else:
            self.taken -= 1
        self.offer()

    def offer(self) -> None:
        """Ask for claims again, if they were refused for want of room and there is some."""
        if self.starved and self.wanted > 0:
            self.starved = False
            self.freed()

    def close(self) -> None:
        """Hand out no more slots: who waits for one gives its claim back."""
        self.closed = True
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(False)

    def hold(self, flight: InFlight) -> None:
        """Note a claim in hand."""
        self.claims[flight.claim.job_id] = flight

    def drop(self, flight: InFlight) -> None:
        """Note that a claim is settled; by then the job may be in hand anew."""
        if self.claims.get(flight.claim.job_id) is flight:
            del self.claims[flight.claim.job_id]
        self.offer()
