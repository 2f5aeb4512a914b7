"""Claims the due jobs that looks skip while more jobs cannot be claimed than looks can leave out.

Looks take due jobs in the order of their instants, and leave out up to `MAX_RESTING` jobs by id. If
more cannot be claimed, looks begin at a later instant, and a sweep goes over the jobs before it.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.facts import Faulted
from app.db import isolating
from app.db.isolating import Due, reason
from app.scheduler.isolation import MAX_RESTING, REST_SECONDS
from app.scheduler.next_look import MAX_REST_SECONDS, PACE
from app.scheduler.suspects import STEP, Suspects
from app.scheduler.tasks import wait_and_clear

PAGE = 2000
"""The most jobs that a walk reads at once."""
MAX_LOCKED = 250
"""The most jobs with a locked row that a walk remembers; with more, the next walk comes sooner."""
MIN_WATCH_SECONDS = 0.1
"""The shortest pause between two watches."""
ROOM_SECONDS = 0.01
"""The pause of a walk while the dispatcher has no room for a claim."""
OUTAGE_SECONDS = 1.0
"""The pause after an error."""


class Sweep:
    """Goes over the jobs that are due before the instant at which looks begin.

    A *walk* tries to claim all of them, at first and about once a minute. A *watch* between two
    walks tries only the rows that were written since: a job that cannot be claimed is not written,
    so its row has an old transaction as `xmin`, while a job that was moved there or came late has
    a newer one.
    """

    def __init__(self, suspects: Suspects) -> None:
        self.suspects = suspects
        self.isolation = suspects.isolation
        self.dispatcher = suspects.dispatcher
        self.behind: datetime | None = None
        """The instant at which looks begin; None stands for the earliest due job."""
        self.top: datetime | None = None
        """The latest instant that a walk has covered; None before the first walk."""
        self.left = 0
        """How many jobs can neither be claimed, nor get a `plan_error`, nor rest."""
        self.horizon = ""
        """The `read_horizon` of the last walk or watch: the next watch looks for newer rows."""
        self.locked: set[UUID] = set()
        """Jobs that the next watch tries again, as other transactions had their rows locked."""
        self.walk_at = self.watch_at = float("inf")
        """When the next walk and the next watch are due, monotonic seconds."""
        self.monotonic = suspects.monotonic

    def __repr__(self) -> str:
        return f"<Sweep: looks begin at {self.behind}, walked up to {self.top}, {self.left} left>"

    async def keep_sweeping(self) -> None:
        """Walk, watch, and have `Suspects` try again the jobs whose rest is over, until cancelled.

        An error is told, and all is done again after `OUTAGE_SECONDS`.
        """
        news = self.isolation.news
        while True:
            await wait_and_clear(news, seconds=self.rest_seconds())
            try:
                await self.suspects.retry()
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is told, and tried again
                self.suspects.observers.tell(Faulted(where="isolate", error=reason(error)))
                await asyncio.sleep(OUTAGE_SECONDS)
                news.set()

    def rest_seconds(self) -> float | None:
        """Return the seconds until the next walk, watch or end of a rest; None without any."""
        rests = (one.until for one in self.isolation.resting.values())
        at = min(self.walk_at, self.watch_at, *rests)
        return max(at - self.monotonic(), 0.0) if at < float("inf") else None

    def relieve(self, instant: datetime) -> None:
        """Have looks begin at `instant` or later, if over `MAX_RESTING` jobs are left out."""
        if len(self.isolation.suspects) + len(self.isolation.resting) > MAX_RESTING:
            self.behind = max(instant, self.behind or instant)
            self.isolation.news.set()

    async def sweep(self) -> None:
        """Walk or watch if one of these is due.

        Once a walk leaves no job, looks begin at the earliest due job again, and the sweep ends.
        """
        if self.behind is None or self.dispatcher.closed:
            return
        try:
            if self.top is None or self.monotonic() >= self.walk_at:
                await self.walk()
            await self.catch_up()
        except Exception:
            self.top = None
            raise
        if not self.left:
            self.behind = self.top = None
            self.walk_at = self.watch_at = float("inf")
            self.suspects.look_again()

    async def walk(self) -> None:
        """Try to claim all jobs that are due before looks begin, and plan the next walk."""
        began = self.monotonic()
        self.horizon = await isolating.read_horizon(self.isolation.db)
        self.left, self.top, self.locked = 0, self.behind, set()
        self.watch_at = began + MIN_WATCH_SECONDS
        await self.go_over()
        if self.left:
            told = f"{self.left} jobs can neither be claimed nor put aside: looks begin behind them"
            self.suspects.observers.tell(Faulted(where="sweep", error=told))
        self.walk_at = self.monotonic() + max(REST_SECONDS, PACE * (self.monotonic() - began))

    async def catch_up(self) -> None:
        """Go over jobs behind `top` if looks begin later by now, and watch if a watch is due."""
        top, behind = self.top, self.behind
        if top is not None and behind is not None and behind > top:
            self.top = behind
            await self.go_over(since=top)
        if self.monotonic() >= self.watch_at:
            await self.watch()

    async def watch(self) -> None:
        """Try to claim jobs whose rows were locked, or written since the last walk or watch."""
        began, self.watch_at = self.monotonic(), float("inf")
        horizon = await isolating.read_horizon(self.isolation.db)
        locked, self.locked = list(self.locked), set()
        if locked:
            kinds = self.suspects.kinds
            await self.step(await isolating.list_due_among(self.isolation.db, locked, kinds=kinds))
        await self.go_over(newer=self.horizon)
        self.horizon = horizon
        rest = max(PACE * (self.monotonic() - began), MIN_WATCH_SECONDS)
        self.watch_at = self.monotonic() + min(rest, MAX_REST_SECONDS)

    async def go_over(self, *, since: datetime | None = None, newer: str | None = None) -> None:
        """Try to claim, latest first, jobs due from `since` to `top` and written since `newer`.

        None stands for no bound. The more jobs in a row cannot be claimed, the more are read next.
        """
        before, size, until = None, 1, self.top
        while until is not None and not self.dispatcher.closed:
            if newer is None:
                await self.catch_up()
            room = self.dispatcher.room()
            if room == 0:
                await asyncio.sleep(ROOM_SECONDS)
                continue
            size = min(max(size, room), PAGE)
            found = await isolating.list_due_behind(
                self.isolation.db,
                limit=size,
                kinds=self.suspects.kinds,
                since=since,
                until=until,
                before=before,
                newer=newer,
                aside=self.isolation.aside(),
            )
            if not found:
                return
            before = found[-1]
            claimed = await self.step(found[::-1])
            size = 1 if claimed else 4 * size  # what cannot be claimed takes no room

    async def step(self, found: Sequence[Due]) -> int:
        """Try to claim these jobs; return how many claims were made.

        The other jobs are put aside, or kept in `locked` if another transaction locks their rows.
        """
        parts = [found[start : start + STEP] for start in range(0, len(found), STEP)]
        claim, quick = self.suspects.claim, self.suspects.quick
        results = await asyncio.gather(*(claim(quick, some) for some in parts))
        claimed = 0
        for some, tried in zip(parts, results, strict=True):
            self.left += await self.suspects.set_aside(tried, quiet=True)
            claimed += len(tried.claimed)
            passed = {one.job_id for one in some} - tried.claimed - tried.bad.keys()
            if len(self.locked) + len(passed) <= MAX_LOCKED:
                self.locked |= passed
            else:  # too many to remember
                self.walk_at = min(self.walk_at, self.monotonic() + MAX_REST_SECONDS)
        return claimed
