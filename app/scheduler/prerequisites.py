"""The prerequisites of claims: addresses of names, rendered and decoded targets, certificates.

Due claims wait for these without a slot, so that neither silent name servers nor hostile templates
nor large targets and certificates, however many there are, take slots from other jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain
from typing import ClassVar, Protocol

from app.scheduler.deferral import Admission, Deferrals
from app.scheduler.held_claim import HeldClaim
from app.targets.turns import LARGE

MAX_WAITING = 1000
"""The most due claims that wait for names, and the most names looked up ahead of their claims'
instants. More due claims are deferred."""
MAX_FOR_A_NAME = 25
"""The most due claims that wait for one name; more are deferred."""
CROWDED_SECONDS = 0.02
"""How long a name waits that is crowded (`Names.is_crowded`), before it is asked again whether."""
MAX_LOADING = 1000
"""The most claims for which one `Loads` works at once; more due claims are deferred."""
MOST_DECODING = 4
"""If so many claims for each slot wait for their targets to be decoded, these count as if they
waited for all slots."""


class Names(Protocol):
    """The host names that executors have resolved, see `app.targets.net.names`."""

    def is_known(self, name: str) -> bool:
        """Return whether no claim needs to wait for the name.

        Its answer or failure is fresh, the name is an address, or the rules forbid it.
        """
        ...

    def is_crowded(self, name: str) -> bool:
        """Return whether another lookup of a name that never had an answer must wait.

        Too many such lookups are under way, in all or for names of the same DNS domain.
        """
        ...

    async def look_up(self, name: str) -> None:
        """Wait until the name has an address or its lookup failed; never raises."""
        ...

    def address_of(self, name: str) -> str:
        """Return the first address of a name, for IPv6 its /64 network; empty if unknown."""
        ...

    def known_address(self, name: str) -> str | None:
        """Return `address_of` the name if it `is_known`, else None."""
        ...


class NameLookups:
    """The prerequisite that the names of a target's hosts are resolved, or known to fail.

    Names are looked up as soon as a claim is taken; due claims are parked until then.
    """

    is_of_every_claim: ClassVar[bool] = True

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
        """The names that are being looked up, each with the due claims that are parked for it."""
        self.count = 0
        """How many claims are parked."""
        self.deferrals = Deferrals()
        """The claims that were deferred while lookups have been under way."""
        self.lookups: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[HeldClaim]:
        return chain.from_iterable(self.waiting.values())

    def __repr__(self) -> str:
        waiting = {name: len(claims) for name, claims in self.waiting.items()}
        return f"<NameLookups: claims by name {waiting}, {self.deferrals.times} deferred>"

    def expect(self, held: HeldClaim) -> None:
        """Begin to look up the claim's names, unless too many lookups are under way."""
        for name in held.names:
            if self.names.is_known(name) or name in self.waiting:
                continue
            if len(self.waiting) < MAX_WAITING and not self.names.is_crowded(name):
                self.begin(name)

    def admit(self, held: HeldClaim) -> Admission:
        """Park the claim until its next unknown name is looked up; defer if too many claims wait.

        A claim waits for each of its names once, even if the lookup fails. With "start" the
        claim's addresses are set.
        """
        addresses: dict[str, None] = {}
        for place, name in enumerate(held.names):
            address = self.names.known_address(name)
            if address is None:
                if place >= held.names_waited_for:
                    return self.park(held, name)
                address = self.names.address_of(name)
            if address:
                addresses[address] = None
        held.addresses = tuple(addresses)
        return "start"

    def park(self, held: HeldClaim, name: str) -> Admission:
        """Park the claim until a name is looked up; defer if too many claims wait."""
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

    def begin(self, name: str) -> list[HeldClaim]:
        """Begin the lookup of a name; return the list to which claims that wait are to be added."""
        waiting = self.waiting[name] = []
        lookup = self.tasks.create_task(self.look_up(name), name=f"look up {name}")
        self.lookups.add(lookup)
        lookup.add_done_callback(self.lookups.discard)
        return waiting

    async def look_up(self, name: str) -> None:
        """Look up a name, then resume the claims that wait for it.

        Of names that were begun in the same turn of the event loop too many may be of one DNS
        domain, so they take turns. Else their lookups would fail, and their claims would start
        without addresses, by which no claim is then kept from having all slots.
        """
        while self.names.is_crowded(name):  # noqa: ASYNC110 - nothing tells that it is no longer
            await asyncio.sleep(CROWDED_SECONDS)
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
        """Forget a claim, whether or not the claim is parked here."""
        for claims in self.waiting.values():
            if held in claims:
                claims.remove(held)
                self.count -= 1

    def close(self) -> None:
        """Forget all parked claims, and cancel all lookups."""
        self.waiting.clear()
        self.count = 0
        for lookup in tuple(self.lookups):
            lookup.cancel()


class Loads:
    """The prerequisite that work for a target, which takes milliseconds, is done ahead.

    Its templates are rendered, it is decoded if it is large, or its certificates are loaded. The
    work begins as soon as a claim is taken; due claims are parked until the work ends.
    """

    is_of_every_claim: ClassVar[bool] = False
    """Whether every claim may have to wait for it; if not, only claims with `needs_loads`."""
    what: ClassVar[str]

    def __init__(
        self,
        load: Callable[[HeldClaim], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        *,
        resume: Callable[[Iterable[HeldClaim]], None],
    ) -> None:
        self.load = load
        """Does the work for a claim; never raises."""
        self.tasks = tasks
        self.resume = resume
        """Takes the claims that need not wait any longer."""
        self.loading: dict[HeldClaim, asyncio.Task[None]] = {}
        """The claims that are worked on, each with its task."""
        self.waiting: dict[HeldClaim, None] = {}
        """The claims in `loading` that are due; a set that keeps its order."""
        self.deferrals = Deferrals()
        """The claims that were deferred while others have been in `loading`."""

    def __iter__(self) -> Iterator[HeldClaim]:
        return iter(tuple(self.waiting))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.loading)}, of which {self.count} are due>"

    @property
    def count(self) -> int:
        """How many claims are parked."""
        return len(self.waiting)

    def is_needed(self, held: HeldClaim) -> bool:
        """Return whether the work has yet to be done for a claim."""
        raise NotImplementedError

    def note_done(self, held: HeldClaim) -> None:
        """Note that the work was done, or tried, for a claim."""
        raise NotImplementedError

    def expect(self, held: HeldClaim) -> None:
        """Begin the work for a claim, unless `MAX_LOADING` claims are worked on."""
        if not self.is_needed(held) or held in self.loading:
            return
        if len(self.loading) < MAX_LOADING:
            name = f"{self.what} of {held.claim.job_id}"
            task = self.tasks.create_task(self.load_for(held), name=name)
            self.loading[held] = task
            # Not at the end of the task's own code: cancelled before its first step it runs none.
            task.add_done_callback(lambda _: self.forget(held))

    def admit(self, held: HeldClaim) -> Admission:
        """Park the claim until the work is done; defer if too many claims are worked on.

        A claim waits once, even if the work fails.
        """
        if not self.is_needed(held):
            return "start"
        self.expect(held)
        if held not in self.loading:
            return "defer"
        self.waiting[held] = None
        return "park"

    async def load_for(self, held: HeldClaim) -> None:
        """Do the work for a claim, then resume the claim if it is due."""
        await self.load(held)
        self.note_done(held)
        if held in self.waiting:
            del self.waiting[held]
            self.resume((held,))

    def forget(self, held: HeldClaim) -> None:
        """Forget the task that worked, or was to work, for a claim."""
        del self.loading[held]
        if not self.loading:
            self.deferrals.end()

    def remove(self, held: HeldClaim) -> None:
        """Forget a claim, whether or not the claim is parked, and cancel what is done for it."""
        self.waiting.pop(held, None)
        if (task := self.loading.get(held)) is not None:
            task.cancel()

    def close(self) -> None:
        """Forget all parked claims, and cancel all that is being done."""
        self.waiting.clear()
        for task in tuple(self.loading.values()):
            task.cancel()


class Renderings(Loads):
    """The prerequisite that the templates of a target are rendered."""

    what = "render templates"

    def is_needed(self, held: HeldClaim) -> bool:
        return held.needs_rendering

    def note_done(self, held: HeldClaim) -> None:
        held.needs_rendering = False
        if isinstance(held.rendered, str):
            held.needs_decoding = len(held.rendered) >= LARGE


class Decodings(Loads):
    """The prerequisite that a large target is decoded, one target after the other (`Turns`).

    A target with templates can be read once these are rendered. Some of the claims that wait for
    this count as if they waited for a slot, see `counted`.
    """

    what = "decode target"

    def is_needed(self, held: HeldClaim) -> bool:
        return held.needs_decoding and not held.needs_rendering

    def counted(self, size: int) -> int:
        """Return how many claims count as if they waited for one of `size` slots.

        A quarter of the slots at most, as few are ready at a time and others need the rest. Of more
        than three times as many claims as slots, those beyond count as well, so that
        `MOST_DECODING` times as many count for all slots: more are left to other instances.
        """
        return max(min(self.count, size // 4), self.count - (MOST_DECODING - 1) * size)

    def note_done(self, held: HeldClaim) -> None:
        held.needs_decoding = False


class CertificateLoads(Loads):
    """The prerequisite that the certificates of a target are loaded.

    A target with templates can be read once these are rendered, a large one once it is decoded.
    """

    what = "load certificates"

    def is_needed(self, held: HeldClaim) -> bool:
        return held.needs_certificates and not (held.needs_rendering or held.needs_decoding)

    def note_done(self, held: HeldClaim) -> None:
        held.needs_certificates = False


Prerequisite = NameLookups | Loads
"""What a due claim may need before the claim can have a slot."""
