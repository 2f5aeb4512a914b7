"""Takes a bulk action from step to step.

A step is one transaction: it changes some jobs and writes down how far the action has come. So
whatever dies, each job is touched at most once; an instance that comes back late finds that its
step was taken. What one job refuses undoes the step, which is taken again with fewer jobs, and in
the end without that one.
"""

import asyncio
from uuid import UUID

from app.db import Database, bulk
from app.db.bulk import LEASE_SECONDS, Done
from app.db.isolating import is_outage, reason
from app.errors import LockedByOthers
from app.jobs.bulk import Held, Part, Work, problem_of
from app.timers import Monotonic

STEP_JOBS = 25
"""The most jobs of a step: their rows are locked for some milliseconds."""
REST_SECONDS = 0.02
"""The shortest rest between two steps."""
DUTY = 0.5
"""The part of the time that an action may be at work."""
TRIES = 6
"""How often a job is tried that is locked, or edited by others, before the action goes on."""
RETRY_SECONDS = 0.1
"""The first wait before such a job is tried again; doubled each time."""
EXTEND_SECONDS = LEASE_SECONDS / 3
"""How often the lease of an action that rests is extended."""


class Steps:
    """Takes the steps of one action, in one instance."""

    def __init__(  # noqa: PLR0913 - what a step needs
        self,
        db: Database,
        id: UUID,
        work: Work,
        *,
        instance: str,
        reached: str | None,
        rate: float | None,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.id = id
        self.work = work
        self.instance = instance
        self.reached = reached
        self.rate = rate
        """How many runs it may start in a second; None: it starts none."""
        self.clock = clock
        self.most = STEP_JOBS if rate is None else max(1, min(STEP_JOBS, int(rate)))
        self.size = self.most
        self.tries = 0

    def __repr__(self) -> str:
        return f"<Steps of {self.id}: reached {self.reached}>"

    async def take_all(self) -> bool:
        """Take steps to the end; False: the action was cancelled, or is another instance's now.

        Raises:
            DatabaseUnavailable: an outage; the steps taken so far count.
        """
        while True:
            began = self.clock()
            part = await self.work.read(self.db, reached=self.reached, limit=self.size)
            if part.wait_seconds is not None:
                if not await self.rest(part.wait_seconds):
                    return False
                continue
            try:
                done = await self.step(part)
            except Exception as error:
                if is_outage(error) and not isinstance(error, LockedByOthers):
                    raise
                if await self.is_put_off(part, error):
                    continue
                done = await self.pass_over(part, told(error))
            if done is None or part.is_last:
                return done is not None
            self.reached, self.tries = done.reached, 0
            self.size = min(2 * self.size, self.most)
            if not await self.rest(self.pause(done, took=self.clock() - began)):
                return False

    def pause(self, done: Done, *, took: float) -> float:
        """Return how many seconds to rest after a step that took so many."""
        rest = max(REST_SECONDS, took * (1 - DUTY) / DUTY)
        return rest if self.rate is None else max(rest, done.changed / self.rate - took)

    async def step(self, part: Part) -> Done | None:
        """Take one step; None if the action has ended, or is another instance's."""
        async with bulk.step(
            self.db, self.id, instance=self.instance, reached=self.reached
        ) as transaction:
            if transaction is None:
                return None
            done = await self.work.write(transaction, part)
            await bulk.end_step(transaction, self.id, done, is_last=part.is_last)
        return done

    async def is_put_off(self, part: Part, error: Exception) -> bool:
        """Prepare another try of a step that failed; False: its one job has been tried enough."""
        if len(part.items) > 1:
            self.size = max(1, len(part.items) // 4)
            await asyncio.sleep(REST_SECONDS)
            return True
        self.tries += 1
        if part.items and (self.tries >= TRIES or not isinstance(error, Held | LockedByOthers)):
            return False
        await asyncio.sleep(RETRY_SECONDS * 2 ** min(self.tries, TRIES))
        return True

    async def pass_over(self, part: Part, problem: str) -> Done | None:
        """Write down that the action failed for the one job of a part, and go on behind it."""
        [item] = part.items
        done = Done(reached=part.reached, matched=1, problems=[problem_of(item, problem)])
        async with bulk.step(
            self.db, self.id, instance=self.instance, reached=self.reached
        ) as transaction:
            if transaction is None:
                return None
            await bulk.end_step(transaction, self.id, done, is_last=part.is_last)
        return done

    async def rest(self, seconds: float) -> bool:
        """Rest between two steps; False if the action is not this instance's any more.

        The lease is extended in a long rest.
        """
        while seconds > EXTEND_SECONDS:
            await asyncio.sleep(EXTEND_SECONDS)
            seconds -= EXTEND_SECONDS
            if not await self.extend():
                return False
        await asyncio.sleep(seconds)
        return True

    async def extend(self) -> bool:
        """Extend the lease; False if the action has ended, or is another instance's."""
        async with bulk.step(
            self.db, self.id, instance=self.instance, reached=self.reached
        ) as transaction:
            return transaction is not None


def told(error: Exception) -> str:
    """Word why an action failed for a job."""
    if isinstance(error, Held):
        return "its row is locked, or others edit it, or a trigger of yours keeps it as it is"
    if isinstance(error, LockedByOthers):
        return "another transaction has its row locked"
    return reason(error)
