"""Recovers from looks that fail, or that a trigger keeps from claiming a job.

The jobs that may be to blame are left out of the next looks and claimed apart, see `Suspects`.
"""

from collections.abc import Sequence
from datetime import datetime

from app.core.facts import Faulted
from app.db import claims, isolating
from app.db.claims import Look
from app.db.database import Runner
from app.db.isolating import Due, is_about_a_row, may_have_succeeded, reason
from app.errors import CancellationCaught, StatementCancelled
from app.scheduler.next_look import ScanStart
from app.scheduler.sweep import Sweep
from app.scheduler.watch import Watch

LOOK_SECONDS = 0.3
"""How long a look may take where users have triggers, until it counts as failed for one of them.
Doubled each time that no job is found to be to blame, until a look is quick again. Usually a look
takes milliseconds."""
MAX_LOOK_SECONDS = 4.0
"""The longest time that a look may take, with triggers of users or without."""
GROWTH = 4
"""The factor by which the number of jobs that a look claims grows after one that claimed none."""
SLOW = "Postgres is slow, or tocsin.jobs is locked: tocsin doctor tells by whom"
FAILED_LOOK_SECONDS = 1.0
"""The pause after a look that failed for no job: none was due, or a look for none fails, too."""


class LookRecovery:
    """Finds the jobs for which looks fail, and keeps these jobs from holding up all others."""

    def __init__(self, sweep: Sweep, scan_start: ScanStart) -> None:
        self.sweep = sweep
        self.suspects = sweep.suspects
        self.isolation = sweep.isolation
        self.scan_start = scan_start
        self.observers = self.suspects.observers
        self.least = 0
        """How many jobs a look claims at least: what cannot be claimed takes no room. However few
        slots there are, it grows: thousands of such jobs would hold up all others for long."""
        self.watch = Watch(
            self.isolation.db,
            self.observers,
            application_name=f"tocsin scheduler {self.isolation.instance}",
            timers=sweep.dispatcher.timers,
            seconds=LOOK_SECONDS,
            locks=False,  # a look passes over what is locked
        )
        """Cancels looks that take too long."""
        self.claiming = self.suspects.orphans.claiming
        """The context of a statement that claims, see `Orphans`."""

    def __repr__(self) -> str:
        return f"<LookRecovery: claims at least {self.least}, {self.watch}>"

    def looked(self, look: Look, *, limit: int) -> None:
        """Learn from a look that did not fail; leave out the jobs whose claim was suppressed."""
        if look.suppressed:
            self.least = 0 if look.claims else GROWTH * limit
            self.isolation.suspect(look.suppressed)
            self.sweep.relieve(look.looked_until or look.begun_at)
            self.scan_start.forget()
            task = self.suspects.isolate_suppressed(look)
            self.suspects.tasks.create_task(task, name="suppressed")
        else:
            self.least = 0
        if look.took_seconds < LOOK_SECONDS / 4:
            self.watch.seconds = LOOK_SECONDS

    async def look_past(  # noqa: PLR0913 - the arguments of a look
        self,
        session: Runner,
        error: Exception,
        *,
        limit: int,
        ahead_seconds: float,
        since: datetime | None,
        by_priority: bool,
    ) -> float:
        """Have the jobs of a look that failed with `error` claimed apart, in a task.

        Return the seconds to sleep before the next look, which leaves these jobs out. The
        arguments are those of the failed look.
        """
        session = await self.free_found(session, error)
        try:
            found: list[Due] = []
            fails_with_jobs = not await self.fails_without_jobs(session)
            if fails_with_jobs and by_priority:
                found = await isolating.list_due_raised(
                    session,
                    limit=limit,
                    kinds=self.suspects.kinds,
                    believed=self.suspects.clock.believed(),
                    aside=self.isolation.aside(),
                )
            if fails_with_jobs and not found:
                found = await isolating.list_due(
                    session,
                    limit=limit,
                    ahead_seconds=ahead_seconds,
                    kinds=self.suspects.kinds,
                    since=since,
                    believed=self.suspects.clock.believed(),
                    aside=self.isolation.aside(),
                )
        except StatementCancelled:
            self.observers.tell(Faulted(where="look", error=SLOW))
            self.lengthen()
            return 0.0
        if not found:
            self.observers.tell(Faulted(where="look", error=reason(error)))
            return FAILED_LOOK_SECONDS
        self.least = GROWTH * limit
        self.isolation.suspect(one.job_id for one in found)
        self.sweep.relieve(found[0].now)
        task = self.isolate(found, ahead_seconds=ahead_seconds, error=error)
        self.suspects.tasks.create_task(task, name="isolate")
        return 0.0

    async def free_found(self, session: Runner, error: Exception) -> Runner:
        """Free what a look that failed with `error` may have claimed all the same.

        Return a session for what follows: that of the look, unless it was ended.
        """
        if isinstance(error, CancellationCaught):
            session = self.isolation.db
        if may_have_succeeded(error):
            await self.suspects.orphans.free_found(session)
        return session

    async def fails_without_jobs(self, session: Runner) -> bool:
        """Return whether a look fails that claims nothing, so that no due job is to blame."""
        try:
            await claims.look(
                session,
                limit=1,
                ahead_seconds=0.0,
                lease_seconds=self.isolation.lease_seconds,
                kinds=self.suspects.kinds,
                instance=self.isolation.instance,
                since=self.suspects.clock.believed(),
                believed=self.suspects.clock.believed(),
                only=[],
            )
        except Exception as error:
            if not is_about_a_row(error):
                raise
            return True
        return False

    async def isolate(
        self, found: Sequence[Due], *, ahead_seconds: float, error: Exception
    ) -> None:
        """Claim what can be claimed; give looks more time if no job made this one slow."""
        bad = await self.suspects.isolate(found, ahead_seconds=ahead_seconds, error=error)
        if isinstance(error, StatementCancelled) and not bad:
            self.lengthen()

    def lengthen(self) -> None:
        """Give looks more time, as Postgres is slow and no job is to blame."""
        self.watch.seconds = min(2 * self.watch.seconds, MAX_LOOK_SECONDS)
