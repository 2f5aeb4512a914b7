"""Room for executions, and how many claims are worth having in hand."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from uuid import UUID

from app.scheduler.hosts import STUCK_SECONDS, Hosts
from app.scheduler.inflight import InFlight

RESERVE_SECONDS = 0.1
"""Claims for so long at the present pace are kept waiting, so that no slot idles during a look."""

MOST_RESERVE = 4
"""Times the slots: a reserve is lost time for others if the instance dies."""
MOST_SETTLING = 10
"""Times the slots: executions that wait for Postgres to take their results."""


class Slots:
    """The claims in hand, each of them waiting for a slot, executing, or being settled.

    While executions are short, a few more are claimed than there are slots for; while they are
    long, none is: another instance could start it at once. No host gets them all: see `Hosts`.
    """

    def __init__(self, size: int, *, freed: Callable[[], None]) -> None:
        self.size = size
        self.freed = freed
        """Called when it is worth claiming again after there was no room."""
        self.claims: dict[UUID, InFlight] = {}
        self.taken = 0
        self.waiting: deque[tuple[str, asyncio.Future[bool]]] = deque()
        self.weeding: asyncio.TimerHandle | None = None
        self.hosts = Hosts()
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
        return min(wanted, MOST_SETTLING * self.size - settling)

    def reckon(self) -> None:
        """Set the reserve by the pace since the last time."""
        now = monotonic()
        elapsed = now - self.counted_at
        if elapsed >= RESERVE_SECONDS / 10:
            self.reserve = min(
                int(self.given * RESERVE_SECONDS / elapsed), MOST_RESERVE * self.size
            )
            self.given, self.counted_at = 0, now

    async def take(self, host: str) -> bool:
        """Wait for a slot; False: there will be none, the claim is to be given back or put off."""
        if self.closed or self.is_stuck(host):
            return False
        if self.admits(host):
            self.grant(host)
            return True
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self.waiting.append((host, turn))
        if self.weeding is None:
            self.weeding = loop.call_later(STUCK_SECONDS, self.weed)
        return await turn

    def weed(self) -> None:
        """Send those away who wait for a host that is stuck; look again while others wait."""
        self.weeding = None
        for waiting in tuple(self.waiting):
            if self.is_stuck(waiting[0]):
                self.waiting.remove(waiting)
                waiting[1].set_result(False)
        if self.waiting:
            loop = asyncio.get_running_loop()
            self.weeding = loop.call_later(STUCK_SECONDS, self.weed)

    def admits(self, host: str) -> bool:
        """Whether the host may have a slot now."""
        free = self.size - self.taken
        return free > 0 and not self.hosts.is_full(host, free=free)

    def is_stuck(self, host: str) -> bool:
        """Whether jobs for the host had better not wait here."""
        return self.hosts.is_stuck(host, free=self.size - self.taken)

    def grant(self, host: str) -> None:
        self.taken += 1
        self.hosts.begin(host)

    def give(self, host: str) -> None:
        """Give a slot back, to the claim that waits longest among those whose host may have it."""
        self.given += 1
        self.taken -= 1
        self.hosts.end(host)
        for waiting in self.waiting:
            if self.admits(waiting[0]):
                self.waiting.remove(waiting)
                self.grant(waiting[0])
                waiting[1].set_result(True)
                break
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
            _, turn = self.waiting.popleft()
            turn.set_result(False)

    def hold(self, flight: InFlight) -> None:
        """Note a claim in hand."""
        self.claims[flight.claim.job_id] = flight

    def drop(self, flight: InFlight) -> None:
        """Note that a claim is settled; by then the job may be in hand anew."""
        if self.claims.get(flight.claim.job_id) is flight:
            del self.claims[flight.claim.job_id]
        self.offer()
