"""Takes a bulk action from step to step.

A step is one transaction: it changes some jobs and writes down how far the action has come. So
whatever dies, each job is touched at most once; an instance that comes back late finds that its
step was taken. What one job refuses undoes the step, which is taken again with fewer jobs, and in
the end without that one.

The actions of an instance take turns: a turn is a step and the rest that others are due for it. So
a small action is done soon beside large ones, and many weigh no more than a few.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from app.db import Database, bulk
from app.db.bulk import Done
from app.db.isolating import is_outage, reason
from app.errors import LockedByOthers
from app.jobs.bulk import Held, Part, Work, problem_of
from app.timers import Monotonic

STEP_JOBS = 25
"""How many jobs the first step has."""
MAX_JOBS = 100
"""The most jobs of a step. A step costs as much again as some twenty jobs."""
QUICK_SECONDS = 0.025
"""After a step that took less the next one has twice as many jobs, whose rows are locked so long.
After one that took twice as long it has half as many, down to `STEP_JOBS`."""
REST_SECONDS = 0.02
"""The shortest rest between two steps."""
DUTY = 0.5
"""The part of the time in which an action may write: the other one it rests, and reads."""
TRIES = 6
"""How often a job is tried that is locked, or edited by others, before the action goes on."""
MAX_WAITS = 3
"""How often the wait for what cannot be done yet is doubled."""
RETRY_SECONDS = 0.1
"""The first wait before such a job is tried again; doubled each time."""


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
        turns: asyncio.Semaphore,
        lost: asyncio.Event,
        clock: Monotonic,
    ) -> None:
        self.db = db
        self.id = id
        self.work = work
        self.instance = instance
        self.reached = reached
        self.rate = rate
        """How many runs it may start in a second; None: it starts none."""
        self.turns = turns
        """Lets a few actions of the instance take a turn at a time, in the order in which they ask.
        """
        self.lost = lost
        """Set once the action has ended, or is another instance's."""
        self.clock = clock
        self.most = MAX_JOBS if rate is None else max(1, min(STEP_JOBS, int(rate)))
        self.size = min(STEP_JOBS, self.most)
        self.tries = 0
        self.waits = 0
        """How often in a row there was nothing that could be done yet."""
        self.is_over = False
        """Whether the last step was taken, or can be taken by this instance no more."""
        self.is_done = False
        """Whether the last step was taken."""

    def __repr__(self) -> str:
        return f"<Steps of {self.id}: reached {self.reached}>"

    async def take_all(self) -> bool:
        """Take steps to the end; False: the action was cancelled, or is another instance's now.

        Raises:
            DatabaseUnavailable: an outage; the steps taken so far count.
        """
        while not self.is_over:
            async with self.turns:
                seconds = await self.take_turn()
            await self.rest(seconds)
        return self.is_done

    async def take_turn(self) -> float:
        """Take a step, and rest as long as the others are due; return how many seconds to wait."""
        began = self.clock()
        part = await self.work.read(self.db, reached=self.reached, limit=self.size)
        if part.wait_seconds is not None:
            self.waits += 1
            return part.wait_seconds * 2.0 ** min(self.waits - 1, MAX_WAITS)
        self.waits = 0
        read_at = self.clock()
        try:
            done = await self.step(part)
        except Exception as error:
            if is_outage(error) and not isinstance(error, LockedByOthers):
                raise
            seconds = self.put_off(part, error)
            if seconds is not None:
                return seconds
            done = await self.pass_over(part, told(error))
        if done is None or part.is_last:
            self.is_over, self.is_done = True, done is not None
            return 0.0
        self.reached, self.tries = done.reached, 0
        reading, writing = read_at - began, self.clock() - read_at
        self.fit(writing)
        rest = max(REST_SECONDS, writing * (1 - DUTY) / DUTY - reading)
        await asyncio.sleep(rest)
        if self.rate is None:
            return 0.0
        return max(done.changed / self.rate - reading - writing - rest, 0.0)

    def fit(self, seconds: float) -> None:
        """Choose the size of the next step by how long the last one took."""
        if seconds < QUICK_SECONDS or self.size < STEP_JOBS:
            self.size = min(2 * self.size, self.most)
        elif seconds > 2 * QUICK_SECONDS:
            self.size = min(max(self.size // 2, STEP_JOBS), self.most)

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

    def put_off(self, part: Part, error: Exception) -> float | None:
        """Prepare another try of a step that failed, and return in how many seconds it is due.

        None: its one job has been tried enough.
        """
        if len(part.items) > 1:
            self.size = max(1, len(part.items) // 4)
            return REST_SECONDS
        self.tries += 1
        if part.items and (self.tries >= TRIES or not isinstance(error, Held | LockedByOthers)):
            return None
        return RETRY_SECONDS * 2.0 ** min(self.tries, TRIES)

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

    async def rest(self, seconds: float) -> None:
        """Wait until the next turn is due, or the action is `lost`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.lost.wait()
        self.is_over |= self.lost.is_set()


def told(error: Exception) -> str:
    """Word why an action failed for a job."""
    if isinstance(error, Held):
        return "its row is locked, or others edit it, or a trigger of yours keeps it as it is"
    if isinstance(error, LockedByOthers):
        return "another transaction has its row locked"
    return reason(error)
