"""Cuts an execution off when the next run of its job comes due, where `overlap` says so."""

import asyncio
from contextlib import suppress
from datetime import datetime

from app.core.runs.claim import Claim, Overlap
from app.core.runs.overlap import superseded_at, superseding_run, unless_late
from app.db import Database, overlap
from app.db.clock import DatabaseClock
from app.errors import DatabaseUnavailable, StatementCancelled
from app.scheduler.closings import open_due
from app.scheduler.endings import Ending
from app.scheduler.held_claim import HeldClaim
from app.scheduler.tasks import wait_and_clear
from app.scheduler.windows import Windows
from app.telemetry import Observers
from app.telemetry.faults import faulted

READ_AGAIN_SECONDS = 1.0
"""The wait before the plan of a job is read again that could not be read, or is yet to be made."""
HELD_UP_SECONDS = 5.0
"""How soon to ask again while a pause, or the flow of the job, lets no run start: the end of that
is no edit of the job."""
AGAIN_SECONDS = 60.0
"""How soon to ask again at the latest while there is maintenance, of which the end may change."""


class Superseding:
    """Watches executions of jobs whose `overlap` is `cancel_other`, each in a task of its own.

    The instance that executes a run is the one that cuts it off, so that the next one is claimed
    once that has ended and settled, and not before. Whether the next run is due is read once more
    before the cut: a person may have edited the job, or paused what it belongs to.
    """

    def __init__(
        self, db: Database, clock: DatabaseClock, observers: Observers, windows: Windows
    ) -> None:
        self.db = db
        self.clock = clock
        self.observers = observers
        self.windows = windows

    def __repr__(self) -> str:
        return f"<Superseding by {self.clock}>"

    def watch(self, held: HeldClaim) -> asyncio.Task[None] | None:
        """Begin to watch an execution; return the task, to be cancelled when the execution ends.

        Return None if `overlap` is another policy, or the job has a single run.
        """
        if held.claim.schedule.run_at is not None or held.claim.overlap is not Overlap.CANCEL_OTHER:
            return None
        held.edited = asyncio.Event()
        return asyncio.create_task(self.cut_when_due(held, held.edited), name="supersede")

    async def cut_when_due(self, held: HeldClaim, edited: asyncio.Event) -> None:
        """Wait until the next run is due, then cut the execution off.

        `edited` is set when the job is edited: its plan is then read again. Never raises: an error
        here is told, and the execution goes on.
        """
        try:
            began_at = self.clock.now()
            due = superseded_at(held.claim, now=began_at)
            while True:
                seconds = None if due is None else self.clock.seconds_until(due.timestamp())
                if self.windows.spans:
                    seconds = AGAIN_SECONDS if seconds is None else min(seconds, AGAIN_SECONDS)
                await wait_and_clear(edited, seconds=seconds)
                due = await self.find_next_due(held.claim, began_at=began_at)
                if due is not None and self.clock.seconds_until(due.timestamp()) <= 0:
                    held.cut(Ending.OVERLAP)
                    return
        except Exception as error:  # noqa: BLE001 - see above
            self.observers.tell(faulted(f"job {held.claim.job_id}", error))

    async def find_next_due(self, claim: Claim, *, began_at: datetime) -> datetime | None:
        """Return when the job's next run is due, as the job is now; None if none is to come.

        Waits through outages of the database, and while the job is paused or yet to be planned.
        """
        while True:
            rest = READ_AGAIN_SECONDS
            with suppress(DatabaseUnavailable, StatementCancelled):
                plan = await overlap.plan_behind(self.db, claim)
                if plan is None or plan.claim.overlap is not Overlap.CANCEL_OTHER:
                    return None
                if plan.held_up:
                    rest = HELD_UP_SECONDS
                elif plan.planned:
                    return await self.cut_at(plan, claim, began_at=began_at)
            await asyncio.sleep(rest)

    async def cut_at(
        self, plan: overlap.PlanBehind, claim: Claim, *, began_at: datetime
    ) -> datetime | None:
        """Return when the run of a plan that is known comes due; None if none cuts another off."""
        moved = plan.next_run != claim.next_run
        run = plan.scheduled_for if moved else superseding_run(plan.claim)
        if not plan.claim.calendars and (run is None or not self.windows.touch(run, run)):
            return plan.next_run if moved else superseded_at(plan.claim, now=began_at)
        due = await open_due(self.db, self.windows, plan.claim, run)
        return due if moved or due is None else unless_late(plan.claim, due, now=began_at)
