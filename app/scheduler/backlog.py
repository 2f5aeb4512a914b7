"""Works through jobs that wait to be planned or checked, past those for which that fails.

A user's trigger may refuse or suppress the write for any number of jobs, or take long for each.
Such jobs are left out for a while, so that no others wait for them. One statement that took too
long does not show that its job is to blame, since Postgres may be slow: see `SLOW_TRIES`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar, TypeVar
from uuid import UUID

from msgspec import Struct

from app.core.facts import Faulted, Planned
from app.db import Database, isolating
from app.db.isolating import Unworkable, is_by_others, reason, run_by_parts
from app.db.waiting import Finding, Position, Written
from app.errors import LockedByOthers, StatementCancelled
from app.scheduler.isolation import (
    REST_SECONDS,
    SLOW_TRIES,
    SUPPRESSED,
    Isolation,
    named,
    rest_seconds,
    unworkable,
)
from app.scheduler.next_look import PACE
from app.scheduler.tasks import wait_and_clear

MAX_SLOW = 10_000
"""For so many jobs it is known how often they took too long; the count of others begins anew."""
MAX_LEFT = 200
"""The most jobs that are left out by id; beyond that, reading goes on behind them."""
OUTAGE_SECONDS = 1.0
"""The pause after an error."""
PASSING_TRIES = 10
"""After so many steps in a row that waited too long for a lock, or were too slow, this is told."""


class Step(Struct, frozen=True, kw_only=True):
    """The result of working through some jobs."""

    read: int = 0
    """How many jobs were read."""
    done: int = 0
    """How many of them wait no more."""
    left: Mapping[UUID, float] = {}
    """The jobs for which the work failed, each with the seconds for which to leave it out."""
    last: Position | None = None
    """The position of the last job that was read; None if none was."""


FindingT = TypeVar("FindingT", bound=Finding)


class Work(ABC):
    """The work for jobs that wait: reads them, and writes a plan or a verdict for each."""

    where: ClassVar[str]
    """The name of the work in facts and errors."""
    what: ClassVar[str]
    """The participle for jobs for which the work is done, such as "planned"."""
    quiet: ClassVar[bool] = False
    """Whether nothing is told of findings unless one is a refusal."""

    def __init__(self, isolation: Isolation, db: Database) -> None:
        self.isolation = isolation
        self.db = db
        """A pool that cancels statements after `PLAN_SECONDS`."""
        self.put_aside_at: dict[UUID, float] = {}
        """When jobs were put aside in the last minute, in monotonic seconds; infinite while a step
        still writes that."""
        self.slow: dict[UUID, int] = {}
        """How often in a row the work took too long, for the latest `MAX_SLOW` such jobs."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: writes by {self.db}>"

    @abstractmethod
    async def take(self, *, after: Position | None, aside: Sequence[UUID]) -> Step:
        """Do the work for the first jobs behind a position; None stands for the beginning."""

    @abstractmethod
    async def take_lately(self, *, newer: str | None, aside: Sequence[UUID]) -> Step:
        """Do the work for jobs that were written since a `read_horizon`, the latest first."""

    async def write(
        self,
        findings: Sequence[FindingT],
        write: Callable[[Database, Sequence[FindingT]], Awaitable[Written]],
        *,
        began: float,
        last: Position | None,
        unreadable: Mapping[UUID, Exception] | None = None,
    ) -> Step:
        """Write findings by `write`, put the jobs aside for which that fails, and tell.

        `began`: when the step began, in monotonic seconds. Two steps may read the same job at once;
        the second leaves it to the first one. `unreadable`: jobs that could not be read, and why.
        """
        failed: dict[UUID, Exception | str] = {**(unreadable or {})}
        written: set[UUID] = set()

        async def write_some(some: Sequence[FindingT]) -> None:
            result = await write(self.db, some)
            written.update(result.written)
            failed.update(dict.fromkeys(result.suppressed, SUPPRESSED))

        def refused(finding: FindingT, error: Exception) -> None:
            failed[finding.job_id] = error

        await run_by_parts(write_some, findings, refused=refused, blame=True)
        for job_id in written:
            self.slow.pop(job_id, None)
        resting = self.rest_slow(failed)
        unworkables = [
            unworkable(job_id, error, what=self.what)
            for job_id, error in failed.items()
            if job_id not in resting
        ]
        left = await self.put_aside(unworkables, began=began)
        refusals = {
            one.job_id: one.plan_error
            for one in findings
            if one.plan_error is not None and one.job_id in written
        }
        if refusals or (written and not self.quiet):
            self.isolation.observers.tell(
                Planned(jobs=len(written), refused=len(refusals), refusals=named(refusals) or None)
            )
        return Step(
            read=len(findings) + len(unreadable or {}),
            done=len(written) + len(unworkables) - len(left),
            left=resting | dict.fromkeys(left, REST_SECONDS),
            last=last,
        )

    def rest_slow(self, failed: Mapping[UUID, Exception | str]) -> dict[UUID, float]:
        """Return those of the jobs that took too long but are not to blame yet.

        Each comes with the seconds for which to leave it out. At every `SLOW_TRIES`-th time in a
        row that is told.
        """
        resting: dict[UUID, float] = {}
        told: dict[UUID, str] = {}
        for job_id, error in failed.items():
            if not isinstance(error, StatementCancelled):
                continue
            slow = self.slow.pop(job_id, 0) + 1
            if is_by_others(error) and slow >= SLOW_TRIES:
                continue
            self.slow[job_id] = slow
            resting[job_id] = rest_seconds(slow)
            if slow % SLOW_TRIES == 0:
                told[job_id] = f"cannot be {self.what}: {reason(error)}"
        while len(self.slow) > MAX_SLOW:
            del self.slow[next(iter(self.slow))]
        if told:
            self.isolation.observers.tell(Faulted(where=self.where, error=named(told)))
        return resting

    async def put_aside(self, unworkables: Sequence[Unworkable], *, began: float) -> set[UUID]:
        """Put jobs aside that no other step puts aside, or did since `began`.

        Return those to which no `plan_error` can be written.
        """
        now = self.isolation.clock()
        kept = {id: at for id, at in self.put_aside_at.items() if at > now - REST_SECONDS}
        ours = [one for one in unworkables if kept.get(one.job_id, float("-inf")) < began]
        self.put_aside_at = kept | {one.job_id: float("inf") for one in ours}
        try:
            return await self.isolation.put_aside_waiting(ours, db=self.db, where=self.where)
        finally:
            # Not before: a step that begins meanwhile still reads these jobs as waiting.
            now = self.isolation.clock()
            self.put_aside_at |= {one.job_id: now for one in ours}


class Backlog:
    """Has the work done for waiting jobs, from the oldest on; jobs written meanwhile come first.

    Jobs for which the work fails are left out by their ids, for as long as the step says. With more
    than `MAX_LEFT` of them the walk goes on behind those, and begins anew after `REST_SECONDS`.
    Rows that were written meanwhile are recognised by their `xmin`, as in `app.scheduler.sweep`.
    """

    def __init__(self, work: Work, *, worked_off: Callable[[], None] = lambda: None) -> None:
        self.work = work
        self.observers = work.isolation.observers
        self.clock = work.isolation.clock
        self.worked_off = worked_off
        """Called when some rows were worked off."""
        self.told = asyncio.Event()
        """Set when jobs may wait."""
        self.left: dict[UUID, float] = {}
        """The jobs that are left out, and until when, the latest last."""
        self.behind: Position | None = None
        """Where the walk goes on; None stands for the beginning."""
        self.anew_at = float("inf")
        """When the walk begins anew."""
        self.horizon: str | None = None
        """The `read_horizon` since which rows count as new; None if any row does."""
        self.failures = 0
        """How many steps in a row failed."""
        self.walk: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Backlog: {len(self.left)} left out, behind {self.behind}>"

    @property
    def walking(self) -> bool:
        """Whether the walk over the jobs is under way."""
        return self.walk is not None and not self.walk.done()

    async def keep_working(self) -> None:
        """Do the work whenever jobs may wait, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self.wait()
                try:
                    if self.walking or self.behind is not None:
                        await self.take_new()
                except Exception as error:  # noqa: BLE001 - told, and tried again
                    await self.tell(error)
                if not self.walking:
                    self.walk = tasks.create_task(self.walk_on(), name="walk over what waits")

    async def wait(self) -> None:
        """Wait until jobs may have been written, or jobs were left out for long enough."""
        at = min(self.anew_at, *self.left.values(), float("inf"))
        seconds = None if at == float("inf") else max(at - self.clock(), 0.0)
        await wait_and_clear(self.told, seconds=seconds)
        now = self.clock()
        if now >= self.anew_at:
            self.behind, self.anew_at = None, float("inf")
            self.left.clear()
        self.left = {job_id: until for job_id, until in self.left.items() if until > now}

    async def take_new(self) -> None:
        """Do the work for jobs that were written since the last time."""
        horizon = await isolating.read_horizon(self.work.db)
        while True:
            step = await self.work.take_lately(newer=self.horizon, aside=[*self.left])
            self.leave_out(step)
            if not step.done:
                break
        self.horizon = horizon

    async def walk_on(self) -> None:
        """Do the work from the oldest job, or from where the walk was, to the last one."""
        began, left = self.clock(), 0
        try:
            while True:
                step = await self.work.take(after=self.behind, aside=[*self.left])
                left += len(step.left)
                if self.leave_out(step):
                    self.behind = step.last
                if not step.read or not (step.done or step.left):
                    break
        except Exception as error:  # noqa: BLE001 - told, and tried again
            await self.tell(error)
            return
        if self.behind is not None and self.anew_at == float("inf"):
            now = self.clock()
            self.anew_at = now + max(REST_SECONDS, PACE * (now - began))
            told = f"{left} jobs can neither be worked off nor put aside: new ones are taken first"
            self.observers.tell(Faulted(where=self.work.where, error=told))

    def leave_out(self, step: Step) -> bool:
        """Note the result of a step: leave jobs out for which the work failed.

        Return whether there were more than `MAX_LEFT`: then the walk has to go on behind them.
        """
        self.failures = 0
        if step.done:
            self.worked_off()
        now = self.clock()
        for job_id, seconds in step.left.items():
            self.left.pop(job_id, None)
            self.left[job_id] = now + seconds
        many = len(self.left) > MAX_LEFT
        while len(self.left) > MAX_LEFT:
            del self.left[next(iter(self.left))]
        return many

    async def tell(self, error: Exception) -> None:
        """Tell an error, and pause for `OUTAGE_SECONDS` before another try.

        A lock or a slow statement is told only at every `PASSING_TRIES`-th failure in a row.
        """
        self.failures += 1
        passing = isinstance(error, LockedByOthers | StatementCancelled)
        if not passing or self.failures % PASSING_TRIES == 0:
            self.observers.tell(Faulted(where=self.work.where, error=reason(error)))
        await asyncio.sleep(OUTAGE_SECONDS)
        self.told.set()
