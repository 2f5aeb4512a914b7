"""What was received already, so that each run is done once.

Tocsin sends a run again when it has not seen the answer, though it may have been done. What a store
promises depends on where it keeps that: see the classes, and docs/clients.md for one in Postgres.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from threading import Lock
from typing import Protocol

MAX_KEPT = 100_000


class Standing(StrEnum):
    """How a run stands with a receiver."""

    NEW = "new"
    """It is this caller's to do from now on."""
    UNDER_WAY = "under_way"
    """Another one does it."""
    DONE = "done"


class Store(Protocol):
    """Where a receiver keeps what it has received.

    `begin` has to be one atomic step, such as `insert … on conflict` or `SET … NX`: of two callers
    at the same time only one may hear NEW. A lease that is over counts as if there were none, since
    whoever had it died; so a run that takes longer than its lease may be done twice.
    """

    def begin(self, id: str, *, lease_seconds: float) -> Standing:
        """Begin a run, unless it is done or another caller has it."""

    def end(self, id: str, *, keep_seconds: float) -> None:
        """Remember that a run is done, for so long."""

    def release(self, id: str) -> None:
        """Forget a run that failed, so that the next attempt may do it."""


class AsyncStore(Protocol):
    """As `Store`, for what has to be awaited; Flask and functions without `async` cannot use it."""

    async def begin(self, id: str, *, lease_seconds: float) -> Standing:
        """Begin a run, unless it is done or another caller has it."""

    async def end(self, id: str, *, keep_seconds: float) -> None:
        """Remember that a run is done, for so long."""

    async def release(self, id: str) -> None:
        """Forget a run that failed, so that the next attempt may do it."""


class MemoryStore:
    """Keeps the latest runs in this process.

    It promises that this process does a run once while it lives and keeps `max_kept` runs. It knows
    nothing of other processes, and forgets all when it ends.
    """

    def __init__(
        self, max_kept: int = MAX_KEPT, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_kept = max_kept
        self.clock = clock
        self.lock = Lock()
        self.kept: OrderedDict[str, tuple[Standing, float]] = OrderedDict()
        """How each run stands and until when, the oldest first."""

    def __repr__(self) -> str:
        return f"<MemoryStore: {len(self.kept)} runs>"

    def begin(self, id: str, *, lease_seconds: float) -> Standing:
        """Begin a run, unless it is done or another caller has it."""
        with self.lock:
            now = self.clock()
            standing, until = self.kept.get(id, (Standing.NEW, now))
            if until > now:
                return standing
            self.keep(id, Standing.UNDER_WAY, now + lease_seconds)
            return Standing.NEW

    def end(self, id: str, *, keep_seconds: float) -> None:
        """Remember that a run is done, for so long."""
        with self.lock:
            self.keep(id, Standing.DONE, self.clock() + keep_seconds)

    def release(self, id: str) -> None:
        """Forget a run that failed, so that the next attempt may do it; not one that is done."""
        with self.lock:
            if self.kept.get(id, (None,))[0] is not Standing.DONE:
                self.kept.pop(id, None)

    def keep(self, id: str, standing: Standing, until: float) -> None:
        """Keep how a run stands, and drop the oldest of too many."""
        self.kept.pop(id, None)
        self.kept[id] = (standing, until)
        while len(self.kept) > self.max_kept:
            self.kept.popitem(last=False)
