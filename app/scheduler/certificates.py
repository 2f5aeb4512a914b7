"""Claims whose targets bring certificates: these are loaded ahead, beside the event loop.

The claims wait for that without a slot, so any number of certificates takes none from anybody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

from app.core.runs.claim import Claim
from app.scheduler.held_claim import HeldClaim
from app.scheduler.hosts import defer_seconds

MAX_LOADING = 1000
"""Claims whose certificates are loaded or wait for it; what comes on top is deferred."""


class Certificates:
    """Has the certificates of claims loaded, and holds those that are due meanwhile."""

    def __init__(
        self,
        load: Callable[[Claim], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        *,
        loaded: Callable[[Iterable[HeldClaim]], None],
    ) -> None:
        self.load = load
        self.tasks = tasks
        self.loaded = loaded
        """Takes the claims that need not wait any longer."""
        self.loading: dict[HeldClaim, asyncio.Task[None]] = {}
        self.waiting: dict[HeldClaim, None] = {}
        """Those of them that are due."""
        self.deferred = 0
        """How many were deferred since nothing was loaded."""

    def __iter__(self) -> Iterator[HeldClaim]:
        return iter(tuple(self.waiting))

    @property
    def count(self) -> int:
        """How many due claims wait."""
        return len(self.waiting)

    def expect(self, flight: HeldClaim) -> None:
        """Load ahead what the claim needs, unless too many are being loaded already."""
        if not flight.brings_certificates or flight in self.loading:
            return
        if len(self.loading) < MAX_LOADING:
            name = f"load certificates of {flight.claim.job_id}"
            task = self.tasks.create_task(self.load_for(flight), name=name)
            self.loading[flight] = task
            # Not at the end of the task's own code: cancelled before its first step it runs none.
            task.add_done_callback(lambda _: self.ended(flight))

    def holds(self, flight: HeldClaim) -> bool | None:
        """Have the claim wait for its certificates; False: it can start, None: it comes later.

        A claim waits for them once, whatever comes of that.
        """
        if not flight.brings_certificates:
            return False
        self.expect(flight)
        if flight not in self.loading:
            return None
        self.waiting[flight] = None
        return True

    async def load_for(self, flight: HeldClaim) -> None:
        await self.load(flight.claim)
        flight.brings_certificates = False
        if flight in self.waiting:
            del self.waiting[flight]
            self.loaded((flight,))

    def ended(self, flight: HeldClaim) -> None:
        """Forget the task that loads, or was to load, for a claim."""
        del self.loading[flight]
        if not self.loading:
            self.deferred = 0

    def defer_seconds(self, *, jitter: float) -> float:
        """Return when a claim that found too many being loaded is worth claiming again."""
        self.deferred += 1
        return defer_seconds(self.deferred, jitter=jitter)

    def remove(self, flight: HeldClaim) -> None:
        """Let the claim wait no longer, if it does."""
        self.waiting.pop(flight, None)
        if (task := self.loading.get(flight)) is not None:
            task.cancel()

    def close(self) -> None:
        """Load nothing any more; nothing waits any more either."""
        self.waiting.clear()
        for task in tuple(self.loading.values()):
            task.cancel()
