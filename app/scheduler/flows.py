"""The flows of jobs: which of them this instance looks at and when, and what it tells of them.

Jobs of a flow are claimed by looks of their own, of those flows of which something may be claimed
(docs/adr/0083). When that is comes from the last look at the flow, from notifications, from
settlements of this instance, and from a scan of all flows every now and then.
"""

import asyncio
import random
from collections.abc import Iterable
from datetime import datetime
from heapq import heapify, heappop, heappush

from app.core.facts import Faulted
from app.core.runs.claim import Claim, Settlement
from app.core.runs.holding import hold_seconds
from app.core.runs.outcome import Report
from app.db import flows
from app.db.flows import Starts
from app.db.isolating import reason
from app.scheduler.isolation import Isolation
from app.scheduler.notify import Wakeup

START_SECONDS = 4.5
"""How long after its claim a job of a flow with a rate may start; the database counts it as started
half a second later than that until it is told (tocsin.permit)."""
KEYS = 64
"""The most flows that one look asks for."""
SCAN_SECONDS = 30.0
"""The longest time between two scans of all flows; half a lease, if that is shorter."""
PACE = 100.0
"""The pause after a scan, in multiples of the scan's duration, if that is longer."""
TELL_SECONDS = 0.01
"""How long starts are gathered before they are told."""
HOLD_SECONDS = 2.0
"""How long an execution waits for its flow to be held, before it is settled all the same."""


class Grant:
    """The claims that one look made of a flow with a rate."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        """The executions that have not started."""
        self.open: set[int] = set()
        """The executions that are not settled."""
        self.many = 0
        """How many have started."""
        self.latest: datetime | None = None
        """When the last of these has."""

    def __repr__(self) -> str:
        return f"<Grant: {self.many} started, {len(self.waiting)} wait, {len(self.open)} are open>"

    def start(self, execution_id: int, at: datetime) -> None:
        """Note that an execution has started."""
        self.waiting.discard(execution_id)
        self.many += 1
        self.latest = at if self.latest is None else max(self.latest, at)


class Flows:
    """When this instance looks at which flow, and what it has to tell of the starts of each."""

    def __init__(self, isolation: Isolation, wakeup: Wakeup) -> None:
        self.db = isolation.db
        self.wakeup = wakeup
        self.observers = isolation.observers
        self.instance = isolation.instance
        self.clock = isolation.clock
        self.scan_seconds = min(SCAN_SECONDS, isolation.lease_seconds / 2)
        """The longest time between two scans: a lease of others that ends is found in time."""
        self.look_at: dict[str, float] = {}
        """When to look at each flow, monotonic; a flow without an entry has nothing to be claimed
        before something changes."""
        self.order: list[tuple[float, str]] = []
        """The same as a heap; entries that `look_at` has not are out of date."""
        self.freed: set[str] = set()
        """Flows that got a permit back here, at which no look has been made since."""
        self.grants: dict[tuple[str, datetime], Grant] = {}
        """By flow and the instant of the look."""
        self.to_tell: dict[tuple[str, datetime], Starts] = {}
        self.has_news = asyncio.Event()
        """Set when there are starts to tell."""
        self.scan_wanted = asyncio.Event()
        """Set when all flows are to be looked for, as at the start of a session."""

    def __repr__(self) -> str:
        return f"<Flows: {len(self.look_at)} to look at, {len(self.grants)} grants>"

    # When to look.

    def hear(self, key: str) -> None:
        """Note a notification: something of a flow, or of any if empty, may be claimed sooner."""
        if key:
            self.note(key)
        else:
            self.scan_wanted.set()

    def note(self, key: str, seconds: float = 0.0) -> None:
        """Have the poller look at a flow in so many seconds, unless it will do so earlier."""
        at = self.clock() + seconds
        if self.look_at.get(key, float("inf")) <= at:
            return
        self.look_at[key] = at
        heappush(self.order, (at, key))
        if len(self.order) > 2 * len(self.look_at) + KEYS:
            self.order = [(at, key) for key, at in self.look_at.items()]
            heapify(self.order)
        if seconds <= 0:
            self.wakeup.wake()
        elif self.order[0][1] == key:
            self.wakeup.wake_in(seconds)

    def free(self, keys: Iterable[str]) -> None:
        """Note that claims of these flows were settled here."""
        for key in keys:
            self.freed.add(key)
            self.note(key)

    def take_due(self) -> list[str]:
        """Return flows to look at now, in any order; they have to be noted again after the look."""
        keys: list[str] = []
        now = self.clock()
        while self.order and self.order[0][0] <= now and len(keys) < KEYS:
            at, key = heappop(self.order)
            if self.look_at.get(key) == at:
                del self.look_at[key]
                keys.append(key)
        random.shuffle(keys)
        self.freed.difference_update(keys)
        return keys

    def next_seconds(self) -> float:
        """Return in how many seconds a flow is to be looked at; infinity without any."""
        while self.order and self.look_at.get(self.order[0][1]) != self.order[0][0]:
            heappop(self.order)
        return max(self.order[0][0] - self.clock(), 0.0) if self.order else float("inf")

    async def hand_over(self) -> None:
        """Have other instances look at flows that got a permit back here, where no slot is free.

        Never raises: they look by themselves when the leases that they know of would end.
        """
        keys, self.freed = self.freed, set()
        if not keys:
            return
        try:
            await flows.wake(self.db, [*keys])
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="wake", error=reason(error)))

    async def keep_known(self) -> None:
        """Look for flows and tell of starts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keep_scanning(), name="scan flows")
            group.create_task(self.keep_telling(), name="tell starts")

    async def keep_scanning(self) -> None:
        """Look for all flows when that is wanted, and every now and then, until cancelled."""
        while True:
            self.scan_wanted.clear()
            began = self.clock()
            try:
                for key, seconds in (await flows.scan(self.db)).items():
                    self.note(key, max(seconds or 0.0, 0.0))
            except Exception as error:  # noqa: BLE001 - the next scan finds the same
                self.observers.tell(Faulted(where="scan", error=reason(error)))
            pause = max(self.scan_seconds * random.uniform(0.9, 1.0), PACE * (self.clock() - began))  # noqa: S311
            try:
                async with asyncio.timeout(pause):
                    await self.scan_wanted.wait()
            except TimeoutError:
                continue

    # What is told.

    def granted(self, claims: Iterable[Claim]) -> None:
        """Note what a look has claimed, before any of it starts."""
        for claim in claims:
            if claim.is_timed and claim.flow_key is not None:
                grant = self.grants.setdefault((claim.flow_key, claim.claimed_at), Grant())
                grant.waiting.add(claim.execution_id)
                grant.open.add(claim.execution_id)

    def note_start(self, claim: Claim, at: datetime) -> None:
        """Note when an execution of a flow with a rate has started."""
        found = self.grant_of(claim)
        if found is not None and claim.execution_id in found.waiting:
            found.start(claim.execution_id, at)
            if not found.waiting:
                self.tell(claim, found)

    def note_end(self, claim: Claim, settlement: Settlement) -> None:
        """Note that a claim of a flow with a rate is settled, whether or not it has started."""
        found = self.grant_of(claim)
        if found is None or claim.execution_id not in found.open:
            return
        found.open.discard(claim.execution_id)
        started = [one.started_at for one in settlement.executions if one.started_at is not None]
        later = bool(started) and (found.latest is None or max(started) > found.latest)
        if later:  # a connection was waited for
            found.latest = max(started)
        if claim.execution_id in found.waiting:
            found.waiting.discard(claim.execution_id)
            later = True
        if later and not found.waiting:
            self.tell(claim, found)
        if not found.open and claim.flow_key is not None:
            del self.grants[claim.flow_key, claim.claimed_at]

    def grant_of(self, claim: Claim) -> Grant | None:
        return self.grants.get((claim.flow_key or "", claim.claimed_at))

    def tell(self, claim: Claim, grant: Grant) -> None:
        key = (claim.flow_key or "", claim.claimed_at)
        latest = grant.latest or claim.claimed_at
        self.to_tell[key] = Starts(
            flow_key=key[0], granted_at=key[1], many=grant.many, latest=latest
        )
        self.has_news.set()

    async def keep_telling(self) -> None:
        """Tell the database of starts, until cancelled."""
        while True:
            await self.has_news.wait()
            await asyncio.sleep(TELL_SECONDS)
            self.has_news.clear()
            told, self.to_tell = self.to_tell, {}
            try:
                await flows.tell_starts(self.db, [*told.values()], instance=self.instance)
            except Exception as error:  # noqa: BLE001 - they count for some seconds more then
                self.observers.tell(Faulted(where="tell", error=reason(error)))
            for key, _ in told:
                self.note(key)

    async def hold(self, key: str, report: Report) -> None:
        """Hold a flow if the answer of its target asks for that.

        Never raises: without it the other jobs of the flow are told the same by the target.
        """
        seconds = hold_seconds(report)
        if seconds is None:
            return
        why = f"the target answered {report.status_code}"
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                await flows.hold(self.db, key, seconds=seconds, why=why)
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="hold", error=reason(error)))
