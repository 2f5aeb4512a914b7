"""Has looks begin behind jobs that are too many to be left out, and claims what is among them.

Each look is told which jobs to leave out, at most a thousand, and walks past them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from app.core.facts import Faulted
from app.db import claims
from app.db.claims import Due
from app.db.isolating import reason
from app.scheduler.isolation import MAX_RESTING, REST_SECONDS
from app.scheduler.next_look import MAX_REST_SECONDS, PACE
from app.scheduler.suspects import STEP, Suspects

PAGE = 2000
"""How many jobs a walk reads at once, at most."""
MAX_LOCKED = 250
"""How many jobs a walk remembers that others had locked."""
MIN_WATCH_SECONDS = 0.1
"""The shortest pause between two looks for rows that were written behind a walk."""
ROOM_SECONDS = 0.01
"""The pause while there is no slot for what a walk may claim."""
OUTAGE_SECONDS = 1.0


class Sweep:
    """Walks over what is due before looks begin, at first and once in a while.

    Jobs that cannot be claimed are not written, so they have an old transaction as `xmin`. What is
    written meanwhile, as jobs that are moved or come late are, has a newer one: a *watch* claims
    these between the walks, without trying all others.
    """

    def __init__(self, suspects: Suspects) -> None:
        self.suspects = suspects
        self.isolation = suspects.isolation
        self.dispatcher = suspects.dispatcher
        self.behind: datetime | None = None
        """The instant at which looks begin; None: at the earliest due job."""
        self.top: datetime | None = None
        """The latest instant that a walk has covered; None before the first walk."""
        self.left = 0
        """How many jobs the walk found that can neither be claimed nor marked nor left out."""
        self.horizon = ""
        """The transaction since which rows were written that the watch has not seen."""
        self.locked: set[UUID] = set()
        """Jobs that were passed over, as other transactions had their rows locked."""
        self.walk_at = self.watch_at = float("inf")
        """When the next walk and the next watch are due, monotonic seconds."""
        self.monotonic = suspects.monotonic

    def __repr__(self) -> str:
        return f"<Sweep: looks begin at {self.behind}, walked up to {self.top}, {self.left} left>"

    async def keep_sweeping(self) -> None:
        """Walk and watch, and have tried again what rests, until cancelled."""
        news = self.isolation.news
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.rest_seconds()):
                    await news.wait()
            news.clear()
            try:
                await self.suspects.retry()
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is told, and tried again
                self.suspects.observers.tell(Faulted(where="isolate", error=reason(error)))
                await asyncio.sleep(OUTAGE_SECONDS)
                news.set()

    def rest_seconds(self) -> float | None:
        """Return the seconds until there is something to do; None: until there are news."""
        rests = (one.until for one in self.isolation.resting.values())
        at = min(self.walk_at, self.watch_at, *rests)
        return max(at - self.monotonic(), 0.0) if at < float("inf") else None

    def relieve(self, instant: datetime) -> None:
        """Have looks begin at an instant, if they would have to leave out too many jobs."""
        if len(self.isolation.suspects) + len(self.isolation.resting) > MAX_RESTING:
            self.behind = max(instant, self.behind or instant)
            self.isolation.news.set()

    async def sweep(self) -> None:
        """Walk or watch, if it is time; once nothing is left, have looks begin at the left end."""
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
        """Go over everything."""
        began = self.monotonic()
        self.horizon = await claims.read_horizon(self.isolation.db)
        self.left, self.top, self.locked = 0, self.behind, set()
        self.watch_at = began + MIN_WATCH_SECONDS
        await self.go_over()
        if self.left:
            told = f"{self.left} jobs can neither be claimed nor put aside: looks begin behind them"
            self.suspects.observers.tell(Faulted(where="sweep", error=told))
        self.walk_at = self.monotonic() + max(REST_SECONDS, PACE * (self.monotonic() - began))

    async def catch_up(self) -> None:
        """Go over what has been added, and watch if it is time."""
        top, behind = self.top, self.behind
        if top is not None and behind is not None and behind > top:
            self.top = behind
            await self.go_over(since=top)
        if self.monotonic() >= self.watch_at:
            await self.watch()

    async def watch(self) -> None:
        """Go over what was written since the last time, or was locked."""
        began, self.watch_at = self.monotonic(), float("inf")
        horizon = await claims.read_horizon(self.isolation.db)
        locked, self.locked = list(self.locked), set()
        if locked:
            kinds = self.suspects.kinds
            await self.step(await claims.list_due_among(self.isolation.db, locked, kinds=kinds))
        await self.go_over(newer=self.horizon)
        self.horizon = horizon
        rest = max(PACE * (self.monotonic() - began), MIN_WATCH_SECONDS)
        self.watch_at = self.monotonic() + min(rest, MAX_REST_SECONDS)

    async def go_over(self, *, since: datetime | None = None, newer: str | None = None) -> None:
        """Claim, latest first, what is due from `since` to `top` and was written since `newer`."""
        before, size, until = None, 1, self.top
        while until is not None and not self.dispatcher.closed:
            if newer is None:
                await self.catch_up()
            room = self.dispatcher.room()
            if room == 0:
                await asyncio.sleep(ROOM_SECONDS)
                continue
            size = min(max(size, room), PAGE)
            found = await claims.list_due_behind(
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
        """Claim some jobs and return how many of them could be claimed.

        The others are put aside, or remembered if another transaction has them locked.
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
