"""The flows of jobs: which of them this instance looks at and when, and what it tells of them.

Jobs of a flow are claimed by looks of their own, of those flows of which something may be claimed
(docs/adr/0083). When that is comes from the last look at the flow, from notifications, from
settlements of this instance, and from a scan of all flows every now and then.
"""

import asyncio
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
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
"""How long after its claim a job of a flow with a rate may start. The database counts the job as
started half a second later than that, until it is told of the start (tocsin.permit)."""
SENT_SECONDS = 5.0
"""How long after its claim, or after the database was told that it is yet to start, the request of
such a job may go out. One that waits for a connection for longer is told of again, so that the
database counts it."""
AGAIN_SECONDS = 3.0
"""How long after it was told, the database is told again of requests that are yet to go out."""
CHECK_SECONDS = 0.25
"""How often to search for claims whose requests are yet to go out."""
KEYS = 64
"""The most flows that one look asks for."""
FEW_KEYS = 16
"""The most flows that one look asks for where there is room for few jobs."""
SCAN_SECONDS = 30.0
"""The longest time between two scans of all flows; half a lease, if that is shorter."""
PACE = 100.0
"""The pause after a scan, in multiples of the scan's duration, where that is longer than
`SCAN_SECONDS`."""
TELL_SECONDS = 0.01
"""How long starts are gathered before they are told."""
HOLD_SECONDS = 2.0
"""How long an execution waits for its flow to be held, before it is settled all the same."""


class PermitOver(Exception):
    """A request may not go out, as the database may count it as one of a window that is over."""


class Grant:
    """The claims that one look made of a flow with a rate."""

    def __init__(self, *, asked_at: float) -> None:
        self.asked_at = asked_at
        """When the look began, monotonic seconds."""
        self.told_at = asked_at
        """When the database was last told that some are yet to start, monotonic seconds; at first
        by the claim."""
        self.waiting: set[int] = set()
        """The executions of which no request has gone out."""
        self.begun: set[int] = set()
        """The executions in `waiting` that wait for a name, a connection or a token."""
        self.open: set[int] = set()
        """The executions that are not settled."""
        self.many = 0
        """How many requests have gone out."""
        self.latest: datetime | None = None
        """When the last of these went out."""

    def __repr__(self) -> str:
        return f"<Grant: {self.many} started, {len(self.waiting)} wait, {len(self.open)} are open>"

    def start(self, execution_id: int, at: datetime) -> None:
        """Note that the request of an execution goes out."""
        self.waiting.discard(execution_id)
        self.begun.discard(execution_id)
        self.many += 1
        self.latest = at if self.latest is None else max(self.latest, at)


class Flows:
    """Knows when to look at which flow, and tells the database of the starts of each."""

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
        self.has_begun = asyncio.Event()
        """Set while there may be executions that have begun and sent nothing yet."""
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

    def take_due(self, room: int) -> list[str]:
        """Return flows to look at now, in any order; they have to be noted again after the look.

        Where there is room for few jobs few flows are returned: most have at least one to claim.
        """
        keys: list[str] = []
        now, most = self.clock(), min(max(room, FEW_KEYS), KEYS)
        while self.order and self.order[0][0] <= now and len(keys) < most:
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
            group.create_task(self.keep_extending(), name="extend starts")

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

    def granted(self, claims: Iterable[Claim], *, asked_at: float) -> None:
        """Note what a look that began at `asked_at`, monotonic, has claimed, before any starts."""
        for claim in claims:
            if claim.is_timed and claim.flow_key is not None:
                key = (claim.flow_key, claim.claimed_at)
                grant = self.grants.setdefault(key, Grant(asked_at=asked_at))
                grant.waiting.add(claim.execution_id)
                grant.open.add(claim.execution_id)

    def note_begin(self, claim: Claim) -> None:
        """Note that an execution of a flow with a rate begins; its request goes out later."""
        found = self.grant_of(claim)
        if found is not None:
            found.begun.add(claim.execution_id)
            self.has_begun.set()

    def note_start(self, claim: Claim, at: datetime) -> None:
        """Note that the request of an execution of a flow with a rate goes out now.

        Raises:
            PermitOver: the request may not go out, as the database could not be told in time.
        """
        found = self.grant_of(claim)
        if found is not None and claim.execution_id in found.waiting:
            if self.clock() >= found.told_at + SENT_SECONDS:
                message = f"the execution {claim.execution_id} has waited for too long"
                raise PermitOver(message)
            found.start(claim.execution_id, at)
            if not found.waiting:
                self.tell(claim, found)

    def note_end(self, claim: Claim, settlement: Settlement) -> None:
        """Note that a claim of a flow with a rate is settled, whether or not it has started."""
        found = self.grant_of(claim)
        if found is None or claim.execution_id not in found.open:
            return
        found.open.discard(claim.execution_id)
        if claim.execution_id in found.waiting:  # nothing was sent, as far as is known
            starts = [one.started_at for one in settlement.executions if one.started_at is not None]
            if starts:
                found.start(claim.execution_id, max(starts))
            found.waiting.discard(claim.execution_id)
            found.begun.discard(claim.execution_id)
            if not found.waiting:
                self.tell(claim, found)
        if not found.open and claim.flow_key is not None:
            del self.grants[claim.flow_key, claim.claimed_at]

    def grant_of(self, claim: Claim) -> Grant | None:
        """Return the grant that has a claim; None, as for a flow without a rate, if none has."""
        return self.grants.get((claim.flow_key or "", claim.claimed_at))

    def tell(self, claim: Claim, grant: Grant) -> None:
        """Have `keep_telling` tell the database how many of a grant have started, and when last."""
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

    async def keep_extending(self) -> None:
        """Tell the database of executions that have begun and wait for long, until cancelled."""
        while True:
            await self.has_begun.wait()
            await asyncio.sleep(CHECK_SECONDS)
            if not any(grant.begun for grant in self.grants.values()):
                self.has_begun.clear()
                continue
            now = self.clock()
            late = {
                key: grant
                for key, grant in self.grants.items()
                if grant.begun and now >= grant.told_at + AGAIN_SECONDS
            }
            try:
                if late:
                    yet = [yet_to_start(*one, now=now) for one in late.items()]
                    await flows.tell_starts(self.db, yet, instance=self.instance)
            except Exception as error:  # noqa: BLE001 - what is not told may not be sent
                self.observers.tell(Faulted(where="tell", error=reason(error)))
                continue
            for grant in late.values():
                grant.told_at = now

    async def hold(self, key: str, report: Report, *, now: datetime) -> None:
        """Hold a flow from `now` on, if the answer of its target asks for that.

        Never raises: if the flow is not held, its target asks the same of its other jobs.
        """
        seconds = hold_seconds(report)
        if seconds is None:
            return
        why = f"the target answered {report.status_code}"
        try:
            held_until = now + timedelta(seconds=seconds)
            async with asyncio.timeout(HOLD_SECONDS):
                await flows.hold(self.db, key, held_until=held_until, why=why)
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(Faulted(where="hold", error=reason(error)))


def yet_to_start(key: tuple[str, datetime], grant: Grant, *, now: float) -> Starts:
    """Return what to tell of a grant some of whose requests go out up to `SENT_SECONDS` from now.

    The starts are said to be half a second later than that, as the database has another clock.
    """
    seconds = now - grant.asked_at + SENT_SECONDS + 0.5
    return Starts(
        flow_key=key[0],
        granted_at=key[1],
        many=grant.many + len(grant.waiting),
        latest=key[1] + timedelta(seconds=seconds),
    )
