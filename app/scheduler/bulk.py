"""Works on bulk actions, each of them by one instance at a time, under a lease."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from time import monotonic
from uuid import UUID

from app.core.facts import BulkEnded
from app.db import Database, bulk
from app.db.bulk import LEASE_SECONDS
from app.db.clock import PolledClock
from app.db.isolating import is_outage, reason
from app.errors import (
    AppError,
    DatabaseUnavailable,
    InvalidInput,
    RightMissing,
    SchemaOutdated,
    StateConflict,
)
from app.jobs.bulk_requests import find_work, request_of
from app.scheduler.bulk_steps import Steps
from app.scheduler.tasks import wait_and_clear
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.timers import Monotonic
from app.vault import SecretKeys
from app.wire.bulk import STARTING

AT_ONCE = 4
"""How many actions of an instance take a step at a time, and how many of each sort it takes where
other instances may have turns free."""
MAX_TAKEN = 50
"""How many actions an instance works on by turns: so many of those that start runs, which take
hours where they are asked to, and so many of the others."""
MORE_SECONDS = 0.5
"""How long actions wait for an instance that has turns free, before one takes more of them."""
AGAIN_SECONDS = LEASE_SECONDS / 2
"""The wait before actions are asked for again while other instances work on some."""
EXTEND_SECONDS = LEASE_SECONDS / 3
"""How often the leases of actions under way are extended: they may rest, or wait for a turn."""
MAX_SECONDS = 300.0
"""The longest time between two questions for actions; a notification tells of most."""
OUTAGE_SECONDS = 1.0
"""The wait after an outage before an action goes on."""
LEAVE_SECONDS = 1.0
"""How long a stopping instance may take to leave its actions to others."""


async def keep_bulk(
    db: Database, observers: Observers, keys: SecretKeys, told: asyncio.Event, *, instance: str
) -> None:
    """Work on bulk actions whenever there are some; ends only when cancelled.

    `told` is set when an action may have been asked for, or may have been left by others.
    """
    await BulkWorker(
        db, observers, keys, instance=instance, told=told, clock=monotonic
    ).keep_working()


class Running:
    """An action that this instance works on."""

    def __init__(self, starts_runs: bool) -> None:  # noqa: FBT001 - there is nothing else
        self.starts_runs = starts_runs
        self.lost = asyncio.Event()
        """Set once it has ended, or is another instance's."""

    def __repr__(self) -> str:
        return f"<Running{', lost' if self.lost.is_set() else ''}>"


def room(many: int, *, more: int) -> int:
    """Return how many actions of a sort to take beside so many, or `more` if that is `AT_ONCE`."""
    return AT_ONCE - many if many < AT_ONCE else max(min(more, MAX_TAKEN - many), 0)


class BulkWorker:
    """The bulk actions that an instance works on."""

    def __init__(  # noqa: PLR0913 - what an action needs
        self,
        db: Database,
        observers: Observers,
        keys: SecretKeys,
        *,
        instance: str,
        told: asyncio.Event,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.observers = observers
        self.keys = keys
        self.instance = instance
        self.told = told
        self.monotonic = clock
        self.database_clock = PolledClock(db)
        self.running: dict[UUID, Running] = {}
        """The actions under way."""
        self.turns = asyncio.Semaphore(AT_ONCE)
        """Lets actions take steps."""
        self.left_at: float | None = None
        """Since when actions are left to instances that have turns free, monotonic seconds."""

    def __repr__(self) -> str:
        return f"<BulkWorker: {len(self.running)} actions>"

    async def keep_working(self) -> None:
        """Work on actions whenever there are some; ends only when cancelled.

        An action of which no notification came waits for `MAX_SECONDS` at most.
        """
        wait = MAX_SECONDS
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.keep_extending(), name="extend bulk")
            try:
                while True:
                    await wait_and_clear(self.told, seconds=wait)
                    wait = await self.take(tasks)
            finally:
                await self.leave()

    async def take(self, tasks: asyncio.TaskGroup) -> float:
        """Begin to work on actions that no instance has; return how soon to ask again, in s."""
        starting = sum(one.starts_runs for one in self.running.values())
        left_seconds = 0.0 if self.left_at is None else self.monotonic() - self.left_at
        more = AT_ONCE if left_seconds >= MORE_SECONDS else 0
        try:
            taken = await bulk.take(
                self.db,
                instance=self.instance,
                mine=list(self.running),
                starting=STARTING,
                limit=room(len(self.running) - starting, more=more),
                starting_limit=room(starting, more=more),
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, jobs go on
            if not is_outage(error):
                self.observers.tell(faulted("bulk", error))
            return AGAIN_SECONDS
        for id, starts_runs in taken.actions.items():
            self.running[id] = Running(starts_runs)
            tasks.create_task(self.work(id), name=f"bulk {id}")
        if not taken.leaves_some:
            self.left_at = None
            return AGAIN_SECONDS if taken.has_others else MAX_SECONDS
        if self.left_at is None or more:
            self.left_at = self.monotonic()
        return MORE_SECONDS

    async def keep_extending(self) -> None:
        """Extend the leases of the actions under way again and again; ends only when cancelled."""
        while True:
            await asyncio.sleep(EXTEND_SECONDS)
            if ids := list(self.running):
                await self.extend(ids)

    async def extend(self, ids: Collection[UUID]) -> None:
        """Extend the leases of some actions; work no more on those that are others' by now."""
        try:
            mine = await bulk.extend(self.db, ids, instance=self.instance)
        except Exception as error:  # noqa: BLE001 - steps extend the leases as well
            if not is_outage(error):
                self.observers.tell(faulted("bulk", error))
            return
        for id in ids:
            if id not in mine and (one := self.running.get(id)) is not None:
                one.lost.set()

    async def leave(self) -> None:
        """Leave the actions under way to other instances, as this one stops."""
        if self.running:
            with suppress(AppError, TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await bulk.release(self.db, list(self.running), instance=self.instance)

    async def work(self, id: UUID) -> None:
        """Work on an action to its end, through outages."""
        try:
            while not await self.try_to_work(id):  # noqa: ASYNC110 - nothing tells the end of an outage
                await asyncio.sleep(OUTAGE_SECONDS)
        finally:
            del self.running[id]
            self.told.set()

    async def try_to_work(self, id: UUID) -> bool:
        """Work on an action; False if an outage came in between."""
        try:
            await self.carry_out(id)
        except (InvalidInput, StateConflict) as error:
            await self.fail(id, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, jobs and other actions go on
            lacking = isinstance(error, SchemaOutdated | RightMissing)
            if isinstance(error, DatabaseUnavailable) and not lacking:
                return False
            self.observers.tell(faulted(f"bulk {id}", error))
            await self.fail(id, reason(error))
        return True

    async def fail(self, id: UUID, problem: str) -> None:
        """End an action that cannot be carried out; after an outage another instance does."""
        with suppress(AppError):
            await bulk.fail(self.db, id, instance=self.instance, error=problem)

    async def carry_out(self, id: UUID) -> None:
        """Go on with an action from where it is.

        Raises:
            InvalidInput, StateConflict: what was asked for cannot be.
            DatabaseUnavailable: an outage; the steps taken so far count.
        """
        row = await bulk.find(self.db, id)
        request = request_of(row, self.keys)
        limits = await bulk.find_limits(self.db, id)
        work = await find_work(
            self.db,
            request,
            self.keys,
            self.database_clock,
            asked_at=row.asked_at,
            limits=limits,
        )
        steps = Steps(
            self.db.acting_for(row.asked_by, limits=limits),
            id,
            work,
            instance=self.instance,
            reached=await bulk.read_reached(self.db, id),
            rate=request.rate if request.action in STARTING else None,
            turns=self.turns,
            lost=self.running[id].lost,
            clock=self.monotonic,
        )
        if await steps.take_all():
            self.observers.tell(BulkEnded(id=id, action=request.action))
        await bulk.forget_target(self.db, id)
