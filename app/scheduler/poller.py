"""The loop of one instance: forget wake-ups, look, hand the claims to the dispatcher, sleep."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from app.core.facts import Connected, Faulted, Looked
from app.db import Database, claims, isolating
from app.db.claims import Look
from app.db.clock import DatabaseClock
from app.db.database import Runner
from app.db.hearing import DEAF_SLEEP_SECONDS
from app.db.isolating import Due, is_about_a_row, may_be_about_a_row, may_have_succeeded, reason
from app.db.listener import Session
from app.errors import StatementCancelled
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.isolation import Isolation
from app.scheduler.next_look import ScanStart, sleep_seconds
from app.scheduler.notify import Polling, Wakeup
from app.scheduler.sweep import Sweep
from app.scheduler.watch import Watch
from app.telemetry import Observers
from app.timers import Monotonic

BATCH = 500
"""The most jobs that one look claims."""
AHEAD_SECONDS = 0.25
"""Claim so long before the instant, so that the start need not wait for Postgres. A job that is
edited or deleted in between is given back."""
MIN_SLEEP_SECONDS = 0.02
"""The sleep after a look that left a due job locked by others, the first time."""
JITTER = 0.1
"""The longest sleep is shortened by a random part up to this, so that instances part."""
LOOK_SECONDS = 0.5
"""How long a look may take where users have triggers, until it counts as failed for one of them.
Doubled while no job is found to be to blame. Usually a look takes milliseconds."""
MAX_LOOK_SECONDS = 4.0
"""How long a look may take in any case."""
GROWTH = 4
"""The factor by which the limit of a look grows after one that could claim no job."""
SLOW = "Postgres is slow, or tocsin.jobs is locked: tocsin doctor tells by whom"
LOST_LOOK_SECONDS = 1.0
"""The pause after a look that failed although no job was due."""


class Poller:
    """Claims due jobs and hands them to the dispatcher, over one session after the other."""

    def __init__(  # noqa: PLR0913 - the parts of an instance, put together in one place
        self,
        *,
        db: Database,
        instance: str,
        kinds: tuple[str, ...],
        lease_seconds: float,
        longest_sleep_seconds: float,
        wakeup: Wakeup,
        dispatcher: Dispatcher,
        tasks: asyncio.TaskGroup,
        clock: DatabaseClock,
        monotonic: Monotonic,
        isolation: Isolation,
        sweep: Sweep,
        scan_start: ScanStart,
        plan_jobs: Callable[[], None],
        observers: Observers,
    ) -> None:
        self.instance = instance
        self.kinds = kinds
        self.lease_seconds = lease_seconds
        self.longest_sleep_seconds = longest_sleep_seconds
        self.wakeup = wakeup
        self.dispatcher = dispatcher
        self.tasks = tasks
        self.clock = clock
        self.monotonic = monotonic
        self.isolation = isolation
        self.sweep = sweep
        self.suspects = sweep.suspects
        self.plan_jobs = plan_jobs
        self.observers = observers
        self.blocked_looks = 0
        self.least = 0
        """How many jobs to claim at least: what cannot be claimed takes no room."""
        self.watch = Watch(
            db,
            observers,
            application_name=f"tocsin scheduler {instance}",
            timers=dispatcher.timers,
            seconds=LOOK_SECONDS,
            locks=False,  # a look passes over what is locked
        )
        self.lost_at: float | None = None
        """When the latest session was lost, monotonic; None while one lasts."""
        self.scan_start = scan_start
        self.polling = Polling(db, wakeup, observers, tasks=tasks, clock=monotonic)

    def __repr__(self) -> str:
        return f"<Poller of {self.instance}: {self.scan_start}, {self.blocked_looks} blocked looks>"

    async def look_until(self, stopping: asyncio.Event, session: Session) -> None:
        """Look and sleep by turns until `stopping` is set.

        Raises:
            DatabaseUnavailable: the session is lost; executions under way go on.
        """
        connected = False
        self.scan_start.forget()  # what happened meanwhile is not known
        await session.limit(MAX_LOOK_SECONDS)
        while not stopping.is_set():
            await session.listen()  # again, where a flood of notifications has ended that
            self.wakeup.clear()  # before the claim: a job committed meanwhile must still wake it
            sleep = await self.look(session)
            if not session.is_listening:
                sleep = min(sleep, DEAF_SLEEP_SECONDS)
            if not connected:
                connected = True
                self.tell_connected()
            if not stopping.is_set():
                await self.wakeup.wait(sleep)

    def note_loss(self) -> None:
        """Note that the session was lost, or that none could be opened since one was."""
        self.lost_at = self.lost_at or self.monotonic()

    def tell_connected(self) -> None:
        away = None if self.lost_at is None else self.monotonic() - self.lost_at
        self.lost_at = None
        self.observers.tell(Connected(instance=self.instance, away_seconds=away))

    async def look(self, session: Session) -> float:
        """Claim due jobs for the dispatcher; return for how many seconds to sleep."""
        limit, ahead_seconds = min(self.dispatcher.room(), BATCH), AHEAD_SECONDS
        if limit == 0:  # what is held for later must not hold up what is due
            limit, ahead_seconds = self.dispatcher.room_at_once(), 0.0
        if limit == 0:
            return self.polling.limit_sleep(self.longest_sleep_seconds)  # a freed slot wakes it
        limit = min(max(limit, self.least), BATCH)
        asked_at = self.monotonic()
        self.scan_start.behind = behind = self.sweep.behind
        since = self.scan_start.since(asked_at)
        aside = self.isolation.aside()
        try:
            with self.watch:
                look = await self.claim(
                    session, limit=limit, ahead_seconds=ahead_seconds, since=since, aside=aside
                )
        except Exception as error:
            if not may_be_about_a_row(error):
                raise
            return await self.look_past(
                session, error, limit=limit, ahead_seconds=ahead_seconds, since=since
            )
        self.clock.observe(
            look.begun_at, look.ended_at, sent_at=asked_at, received_at=self.monotonic()
        )
        self.suspects.take(look, asked_at=asked_at)
        if look.claims:
            await asyncio.sleep(0)  # let them start before all that is left to do here
        # What was left for its size is due as well, unless nothing at all can be claimed.
        full = len(look.claims) == limit or (bool(look.claims) and look.left_from is not None)
        self.scan_start.looked(look, at=asked_at, whole=since == behind, full=full)
        if look.suppressed:
            self.look_past_suppressed(look, limit=limit)
        elif self.least:
            self.least = 0
        if self.watch.seconds > LOOK_SECONDS and look.took_seconds < LOOK_SECONDS / 4:
            self.watch.seconds = LOOK_SECONDS
        sleep = await self.sleep_after(look, full=full)
        self.polling.looked(claimed=len(look.claims), polling_seconds=look.polling_seconds)
        sleep = self.polling.limit_sleep(min(sleep, self.scan_start.patience(asked_at)))
        self.observers.tell(Looked(claimed=len(look.claims), sleep_seconds=sleep))
        return sleep

    async def claim(self, db: Runner, **arguments: Any) -> Look:  # noqa: ANN401
        """Make one look."""
        return await claims.look(
            db,
            lease_seconds=self.lease_seconds,
            kinds=self.kinds,
            instance=self.instance,
            believed=self.clock.believed(),
            **arguments,
        )

    def look_past_suppressed(self, look: Look, *, limit: int) -> None:
        """Leave jobs out of the next looks whose claim a trigger suppressed."""
        self.least = 0 if look.claims else GROWTH * limit
        self.isolation.suspects.update(look.suppressed)
        self.sweep.relieve(look.looked_until or look.begun_at)
        self.scan_start.forget()
        self.tasks.create_task(self.suspects.isolate_suppressed(look), name="suppressed")

    async def look_past(
        self,
        session: Session,
        error: Exception,
        *,
        limit: int,
        ahead_seconds: float,
        since: datetime | None,
    ) -> float:
        """Have the jobs of a failed look claimed by parts in a task, to find those at fault.

        Return the seconds to sleep before the next look, which leaves these jobs out.
        """
        if may_have_succeeded(error):
            await self.suspects.orphans.free_found(session)
        try:
            if await self.fails_without_jobs(session):
                self.observers.tell(Faulted(where="look", error=reason(error)))
                return LOST_LOOK_SECONDS
            found = await isolating.list_due(
                session,
                limit=limit,
                ahead_seconds=ahead_seconds,
                kinds=self.kinds,
                since=since,
                believed=self.clock.believed(),
                aside=self.isolation.aside(),
            )
        except StatementCancelled:
            self.observers.tell(Faulted(where="look", error=SLOW))
            self.lengthen()
            return 0.0
        if not found:
            self.observers.tell(Faulted(where="look", error=reason(error)))
            return LOST_LOOK_SECONDS
        self.least = GROWTH * limit
        self.isolation.suspects.update(one.job_id for one in found)
        self.sweep.relieve(found[0].now)
        self.tasks.create_task(
            self.isolate(found, ahead_seconds=ahead_seconds, error=error), name="isolate"
        )
        return 0.0

    async def fails_without_jobs(self, db: Runner) -> bool:
        """Return whether a look fails that claims nothing, so that no due job is to blame."""
        try:
            await self.claim(db, limit=1, ahead_seconds=0.0, since=self.clock.believed(), only=[])
        except Exception as error:
            if not is_about_a_row(error):
                raise
            return True
        return False

    async def isolate(
        self, found: Sequence[Due], *, ahead_seconds: float, error: Exception
    ) -> None:
        """Claim what can be claimed; if no job is to blame, give looks more time."""
        bad = await self.suspects.isolate(found, ahead_seconds=ahead_seconds, error=error)
        if isinstance(error, StatementCancelled) and not bad:
            self.lengthen()

    def lengthen(self) -> None:
        """Give looks more time, as Postgres is slow and no job is to blame."""
        self.watch.seconds = min(2 * self.watch.seconds, MAX_LOOK_SECONDS)

    async def sleep_after(self, look: Look, *, full: bool) -> float:
        """Return how long to sleep; wake the planner if jobs written in SQL wait for a plan."""
        if full:
            return 0.0  # more may be due
        if look.suppressed:  # more may be due behind those, which the next look leaves out
            return 0.0 if look.claims else MIN_SLEEP_SECONDS
        blocked = look.blocked or look.left_from is not None
        if look.unplanned:
            self.plan_jobs()  # beside the loop too, which is woken for what was planned
            blocked = True
        if look.claims or not blocked:
            self.blocked_looks = 0
        self.blocked_looks += blocked
        wakeup_seconds = look.wakeup_seconds
        if wakeup_seconds is not None and wakeup_seconds > AHEAD_SECONDS:
            # Jittered, so that of several instances one is first and the others find it leased.
            wakeup_seconds -= AHEAD_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311
        return sleep_seconds(
            wakeup_seconds,
            blocked_looks=self.blocked_looks,
            shortest=MIN_SLEEP_SECONDS,
            longest=self.longest_sleep_seconds * random.uniform(1 - JITTER, 1),  # noqa: S311
        )
