"""What due claims are parked for, without a slot: addresses of names, and certificates.

Neither silent name servers nor large certificates, however many there are, take a slot from other
jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

from app.core.runs.claim import Claim
from app.scheduler.admission import Admission, Deferrals
from app.scheduler.held_claim import HeldClaim

MAX_WAITING = 1000
"""How many due claims may wait for names; more are deferred. No more names are looked up ahead."""
MAX_FOR_A_NAME = 25
"""How many due claims may wait for one name; more are deferred."""
MAX_LOADING = 1000
"""How many claims may have their certificates loaded, or wait for it; more are deferred."""


class Names(Protocol):
    """What the executors know of names."""

    def is_known(self, name: str) -> bool:
        """Return whether an execution would not have to wait for the name."""
        ...

    def is_crowded(self, name: str) -> bool:
        """Return whether so many names like this one are waited for that it had better wait."""
        ...

    async def look_up(self, name: str) -> None:
        """Wait until the name has an address, or until it is known that it has none."""
        ...

    def address_of(self, name: str) -> str:
        """Return the address behind a name; empty: not known."""
        ...


class NameLookups:
    """Looks up the names of claims, and keeps the due claims that wait for that."""

    def __init__(
        self,
        names: Names,
        tasks: asyncio.TaskGroup,
        *,
        resume: Callable[[Iterable[HeldClaim]], None],
    ) -> None:
        self.names = names
        self.tasks = tasks
        self.resume = resume
        """Takes the claims that need not wait any longer."""
        self.waiting: dict[str, list[HeldClaim]] = {}
        """The parked claims by the name that they wait for; empty: a lookup for a later claim."""
        self.count = 0
        """How many claims are parked."""
        self.deferrals = Deferrals()
        """The deferrals since no claim waited."""
        self.lookups: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[HeldClaim]:
        return chain.from_iterable(self.waiting.values())

    def __repr__(self) -> str:
        waiting = {name: len(claims) for name, claims in self.waiting.items()}
        return f"<NameLookups: claims by name {waiting}, {self.deferrals.times} deferred>"

    def expect(self, held: HeldClaim) -> None:
        """Look up ahead what the claim will have to know, unless too much is asked already."""
        for name in held.names:
            if self.names.is_known(name) or name in self.waiting:
                continue
            if len(self.waiting) < MAX_WAITING and not self.names.is_crowded(name):
                self.begin(name)

    def admit(self, held: HeldClaim) -> Admission:
        """Park the claim until its names are known, or defer it where too many wait.

        A claim waits for each of its names once, whatever comes of that.
        """
        for name in held.names[held.names_waited_for :]:
            if self.names.is_known(name):
                continue
            waiting = self.waiting.get(name)
            if self.count >= MAX_WAITING or (waiting and len(waiting) >= MAX_FOR_A_NAME):
                return "defer"
            if waiting is None:
                if self.names.is_crowded(name):
                    return "defer"
                waiting = self.begin(name)
            waiting.append(held)
            self.count += 1
            return "park"
        held.addresses = tuple(filter(None, dict.fromkeys(map(self.names.address_of, held.names))))
        return "start"

    def begin(self, name: str) -> list[HeldClaim]:
        """Begin the lookup of a name; return the list of claims that wait for it."""
        waiting = self.waiting[name] = []
        lookup = self.tasks.create_task(self.look_up(name), name=f"look up {name}")
        self.lookups.add(lookup)
        lookup.add_done_callback(self.lookups.discard)
        return waiting

    async def look_up(self, name: str) -> None:
        """Look up a name, then resume the claims that wait for it."""
        await self.names.look_up(name)
        claims = self.waiting.pop(name, [])
        self.count -= len(claims)
        if not self.waiting:
            self.deferrals.end()
        for held in claims:
            held.names_waited_for = held.names.index(name) + 1
        if claims:
            self.resume(claims)

    def remove(self, held: HeldClaim) -> None:
        """Let the claim wait no longer, if it does."""
        for claims in self.waiting.values():
            if held in claims:
                claims.remove(held)
                self.count -= 1

    def close(self) -> None:
        """Let nothing wait any longer, and end all lookups."""
        self.waiting.clear()
        self.count = 0
        for lookup in tuple(self.lookups):
            lookup.cancel()


class CertificateLoads:
    """Loads the certificates of claims, and keeps the due claims that wait for that."""

    def __init__(
        self,
        load: Callable[[Claim], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        *,
        resume: Callable[[Iterable[HeldClaim]], None],
    ) -> None:
        self.load = load
        self.tasks = tasks
        self.resume = resume
        """Takes the claims that need not wait any longer."""
        self.loading: dict[HeldClaim, asyncio.Task[None]] = {}
        self.waiting: dict[HeldClaim, None] = {}
        """The claims among them that are due; a set that keeps its order."""
        self.deferrals = Deferrals()
        """The deferrals since no certificate was being loaded."""

    def __iter__(self) -> Iterator[HeldClaim]:
        return iter(tuple(self.waiting))

    def __repr__(self) -> str:
        return f"<CertificateLoads: {len(self.loading)}, of which {self.count} are due>"

    @property
    def count(self) -> int:
        """How many claims are parked."""
        return len(self.waiting)

    def expect(self, held: HeldClaim) -> None:
        """Load ahead what the claim needs, unless too many are being loaded already."""
        if not held.needs_certificates or held in self.loading:
            return
        if len(self.loading) < MAX_LOADING:
            name = f"load certificates of {held.claim.job_id}"
            task = self.tasks.create_task(self.load_for(held), name=name)
            self.loading[held] = task
            # Not at the end of the task's own code: cancelled before its first step it runs none.
            task.add_done_callback(lambda _: self.forget(held))

    def admit(self, held: HeldClaim) -> Admission:
        """Park the claim until its certificates are loaded, or defer it where too many are.

        A claim waits for them once, whatever comes of that.
        """
        if not held.needs_certificates:
            return "start"
        self.expect(held)
        if held not in self.loading:
            return "defer"
        self.waiting[held] = None
        return "park"

    async def load_for(self, held: HeldClaim) -> None:
        """Load the certificates of a claim, then resume it if it is due."""
        await self.load(held.claim)
        held.needs_certificates = False
        if held in self.waiting:
            del self.waiting[held]
            self.resume((held,))

    def forget(self, held: HeldClaim) -> None:
        """Forget the task that loaded, or was to load, for a claim."""
        del self.loading[held]
        if not self.loading:
            self.deferrals.end()

    def remove(self, held: HeldClaim) -> None:
        """Let the claim wait no longer, if it does."""
        self.waiting.pop(held, None)
        if (task := self.loading.get(held)) is not None:
            task.cancel()

    def close(self) -> None:
        """Let nothing wait any longer, and end all loading."""
        self.waiting.clear()
        for task in tuple(self.loading.values()):
            task.cancel()
