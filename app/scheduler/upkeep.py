"""Adds partitions of executions ahead of time and deletes what is older than the retention.

No error of the upkeep ends an instance, and no step makes a job late: a step is made of short
transactions on a connection of its own, which wait for locks for milliseconds only.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial

from app.core.facts import Pruned, UpkeepFailed
from app.db import upkeep
from app.db.clock import Believed
from app.db.upkeep import UpkeepSession
from app.errors import AppError, LockedByOthers
from app.scheduler.pruning import NONE_LEFT, Left, prune_alerts, prune_log, prune_pages
from app.scheduler.tasks import INTERVAL_SECONDS, RETRY_SECONDS, rest
from app.telemetry import Observers
from app.timers import Monotonic

DAYS_AHEAD = 7
"""How many days ahead partitions are added. While the upkeep fails for less than these days, each
row still finds the partition of its day, and none goes to the default partition."""
MAX_DEFAULT_BYTES = 16 * 2**20
"""The size up to which the default partition is scanned to add a partition for its rows. Writers
to it wait for the scan."""
LOCK_TRIES = 5
"""How often a piece of work is tried that has to lock tables which others use."""
LOCK_PAUSE_SECONDS = 0.5
"""The pause between two tries for a lock, on average."""


async def keep_up(  # noqa: PLR0913 - what a pass needs
    url: str,
    observers: Observers,
    *,
    instance: str,
    retention_days: float,
    clock: Monotonic,
    believed: Believed,
) -> None:
    """Do the upkeep at once and then about every hour, until cancelled.

    A pass in which something failed is followed by another after a minute, two, four, and so on.
    """
    retry = RETRY_SECONDS  # doubled each time that a pass failed somewhere, up to the interval
    while True:
        if await keep_up_once(
            url,
            observers,
            instance=instance,
            retention_days=retention_days,
            clock=clock,
            believed=believed,
        ):
            wait, retry = INTERVAL_SECONDS, RETRY_SECONDS
        else:
            wait, retry = retry, min(2 * retry, INTERVAL_SECONDS)
        await rest(wait)


async def keep_up_once(  # noqa: PLR0913 - what a pass needs
    url: str,
    observers: Observers,
    *,
    instance: str,
    retention_days: float,
    clock: Monotonic,
    believed: Believed = lambda: None,
) -> bool:
    """Do one pass of the upkeep; return whether every step came to its end.

    `believed`: what else counts than the database's clock, which may be ahead by mistake.
    Of several instances that begin at once, one does the pass and the others return False.
    """
    try:
        name = f"tocsin upkeep {instance}"
        async with upkeep.open_session(url, application_name=name) as session:
            if session is None:
                return False
            return await Pass(
                session,
                observers,
                retention_days=retention_days,
                clock=clock,
                believed=believed,
            ).run()
    except Exception as error:  # noqa: BLE001 - whatever it is, jobs go on
        observers.tell(UpkeepFailed(step="session", error=said(error)))
        return False


class Pass:
    """One pass through all steps of the upkeep; a step that fails does not keep the others."""

    def __init__(
        self,
        session: UpkeepSession,
        observers: Observers,
        *,
        retention_days: float,
        clock: Monotonic,
        believed: Believed = lambda: None,
    ) -> None:
        self.session = session
        self.observers = observers
        self.retention_days = retention_days
        self.clock = clock
        self.believed = believed
        self.failures = 0
        """How many steps or records failed."""
        self.added = 0
        """How many partitions were added."""
        self.dropped = 0
        """How many partitions were dropped."""
        self.jobs = 0
        """How many jobs were deleted."""

    def __repr__(self) -> str:
        return (
            f"<Pass: {self.failures} failures, {self.added} partitions added, "
            f"{self.dropped} dropped, {self.jobs} jobs deleted>"
        )

    async def run(self) -> bool:
        """Take all steps; return whether every one came to its end.

        Raises:
            AppError: the session was lost.
        """
        try:
            await self.step("add_partitions", self.add_partitions)
            await self.step("follow_clock", self.follow_clock)
            await self.step("drop_partitions", self.drop_partitions)
            await self.step("default_partition", self.prune_default)
            await self.step("audit_log", self.prune_audit_log)
            await self.step("jobs", self.prune_jobs)
            await self.step("runs", self.resume_runs)
            await self.step("bulk_actions", self.prune_bulk_actions)
            await self.step("alerts", self.prune_alerts)
            await self.step("idempotency_keys", self.prune_idempotency_keys)
        finally:
            if self.added or self.dropped or self.jobs:
                self.observers.tell(
                    Pruned(
                        partitions_added=self.added,
                        partitions_dropped=self.dropped,
                        jobs_deleted=self.jobs,
                    )
                )
        return self.failures == 0

    async def step(self, name: str, work: Callable[[], Awaitable[Left]]) -> None:
        """Take one step, tell of its failure, and record its end or failure for the doctor.

        Raises:
            AppError: the session was lost.
        """
        try:
            left = await work()
        except Exception as error:
            if self.session.is_lost:
                raise
            await self.fail(name, said(error))
            return
        if left.rows:
            told = f"{left.rows} rows refuse to go: {left.reason}"
            self.observers.tell(UpkeepFailed(step=name, error=told))
        await self.write_down(upkeep.record_end(self.session, name, refused=left.rows))

    async def fail(self, name: str, error: str) -> None:
        """Tell and record that a step did not come to its end."""
        self.failures += 1
        self.observers.tell(UpkeepFailed(step=name, error=error))
        await self.write_down(upkeep.record_failure(self.session, name, error=error))

    async def write_down(self, writing: Awaitable[None]) -> None:
        """Await a record for the doctor; an error counts as a failure, and the upkeep goes on."""
        try:
            await writing
        except AppError as error:
            if self.session.is_lost:
                raise
            self.failures += 1
            self.observers.tell(UpkeepFailed(step="write_down", error=said(error)))

    async def add_partitions(self) -> Left:
        """Add the partitions of the coming week."""
        return await self.work_on_each(
            partial(self.add_partition, days) for days in range(DAYS_AHEAD + 1)
        )

    async def add_partition(self, days_ahead: int) -> None:
        """Add the partition of one day."""
        self.added += await upkeep.add_partition(
            self.session, days_ahead=days_ahead, most_bytes=MAX_DEFAULT_BYTES
        )

    async def follow_clock(self) -> Left:
        """Move the clock that history is pruned by towards the database's, at most two days.

        A database clock that is wrong for some hours thus costs no history, see `follow_clock` in
        `db/queries/upkeep.sql`.
        """
        await upkeep.follow_clock(self.session, believed=self.believed())
        return NONE_LEFT

    async def keep_from(self) -> datetime:
        """Return the instant before which history is pruned."""
        return await upkeep.read_keep_from(self.session, retention_days=self.retention_days)

    async def drop_partitions(self) -> Left:
        """Drop the partitions of days that are over for longer than the retention."""
        keep_from = await self.keep_from()
        expired = await upkeep.list_expired_partitions(self.session, keep_from=keep_from)
        return await self.work_on_each(
            partial(self.drop_partition, one, keep_from=keep_from) for one in expired
        )

    async def drop_partition(self, partition: str, *, keep_from: datetime) -> None:
        """Drop one partition, if all of its rows are older than `keep_from`."""
        self.dropped += await upkeep.drop_partition(self.session, partition, keep_from=keep_from)

    async def work_on_each(self, works: Iterable[Callable[[], Awaitable[None]]]) -> Left:
        """Do each piece of work, even after one has failed.

        Raises:
            AppError: the first error, once all are done.
        """
        first: AppError | None = None
        for work in works:
            try:
                await work_between_others(work)
            except AppError as error:
                if self.session.is_lost:
                    raise
                first = first or error
        if first is not None:
            raise first
        return NONE_LEFT

    async def prune_default(self) -> Left:
        """Delete executions older than the retention from the default partition."""
        _, left = await prune_pages(
            self.session,
            "prune_default",
            of="tocsin.executions_default",
            before=await self.keep_from(),
            clock=self.clock,
        )
        return left

    async def prune_audit_log(self) -> Left:
        """Delete entries of the audit log that are older than the retention."""
        await prune_log(self.session, before=await self.keep_from(), clock=self.clock)
        return NONE_LEFT

    async def prune_jobs(self) -> Left:
        """Delete one-off jobs that finished longer ago than the retention."""
        keep_from = await self.keep_from()
        pages = await upkeep.count_pages(self.session, "tocsin.jobs")
        expired = await upkeep.has_expired_jobs(self.session, pages=pages, keep_from=keep_from)
        if not expired and not self.dropped:
            return NONE_LEFT
        self.jobs, left = await prune_pages(
            self.session, "prune_jobs", of="tocsin.jobs", before=keep_from, clock=self.clock
        )
        return left

    async def resume_runs(self) -> Left:
        """Start runs beside the plan that wait although nothing is in their way.

        A person changed their rows, or had them locked when their turn came.
        """
        await upkeep.resume_runs(self.session)
        return NONE_LEFT

    async def prune_bulk_actions(self) -> Left:
        """Delete bulk actions that ended longer ago than the retention."""
        await upkeep.prune_bulk_actions(self.session, keep_from=await self.keep_from())
        return NONE_LEFT

    async def prune_alerts(self) -> Left:
        """Delete alerts that were told longer ago than the retention."""
        await prune_alerts(self.session, before=await self.keep_from(), clock=self.clock)
        return NONE_LEFT

    async def prune_idempotency_keys(self) -> Left:
        """Delete the answers that were kept for requests for a day."""
        while await upkeep.prune_idempotency_keys(self.session, believed=self.believed()):
            pass
        return NONE_LEFT


async def work_between_others(work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, up to `LOCK_TRIES` times while others hold what it has to lock.

    Each try waits for locks for milliseconds, as other transactions queue behind it.

    Raises:
        LockedByOthers: the last try found a lock held, too.
    """
    for _ in range(LOCK_TRIES - 1):
        with suppress(LockedByOthers):
            return await work()
        await asyncio.sleep(LOCK_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - by chance
    return await work()


def said(error: Exception) -> str:
    """Return an error's message, with its type unless the message is written for people."""
    return str(error) if isinstance(error, AppError) else f"{type(error).__name__}: {error}"
