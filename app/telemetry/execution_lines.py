"""Writes the executions of chosen jobs into the log, successes too.

An instance has this observer only where `TOCSIN_LOG_EXECUTIONS` names jobs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice
from uuid import UUID

from app.core.facts import Fact, Settled, Started
from app.telemetry.faults import faulted
from app.telemetry.logs import log_at, log_fact, say_lost, severity
from app.timers import Monotonic

ALL = "*"
"""Stands for all jobs."""
KNOWN_SECONDS = 30.0
"""For how long is known whether a job is chosen, until it is looked up again: it may be renamed."""
MAX_KNOWN = 10_000
"""Of how many jobs that is known; of the oldest it is forgotten."""
MAX_WAITING = 10_000
"""How many facts wait for a look-up at once; further ones are dropped and counted."""
BATCH = 100
"""How many jobs are looked up, and how many lines written, at once: executions go on between."""
LAST_SECONDS = 2.0
"""How long an instance that ends waits for the last look-ups."""
RETRY_SECONDS = 1.0
"""The pause after a look-up that failed."""

Choose = Callable[[Sequence[UUID]], Awaitable[Collection[UUID]]]
"""Finds which of these jobs are chosen, by what their rows say at present."""


class ExecutionLines:
    """An observer that writes lines as `log_fact`, but those of chosen jobs at level info.

    Which jobs are chosen is looked up beside the executions, many jobs at once, so no job waits.
    """

    def __init__(self, chosen: Collection[str], *, choose: Choose, clock: Monotonic) -> None:
        self.all = ALL in chosen
        self.choose = choose
        self.clock = clock
        self.known: dict[UUID, tuple[bool, float]] = {}
        """Whether a job is chosen, and when that was looked up (monotonic seconds)."""
        self.waiting: dict[UUID, list[Fact]] = {}
        """What was told of jobs that have yet to be looked up."""
        self.count = 0
        """How many facts wait."""
        self.lost = 0
        """How many facts were dropped since the last look-up."""
        self.has_waiting = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ExecutionLines: {len(self.known)} jobs known, {self.count} facts wait>"

    def __call__(self, fact: Fact) -> None:
        """Observe a fact; whatever is logged at level info or above is left to `log_fact`."""
        if not isinstance(fact, Started | Settled) or severity(fact) >= logging.INFO:
            log_fact(fact)
            return
        if self.all:
            log_at(logging.INFO, fact)
            return
        if fact.job_id not in self.waiting:
            chosen, at = self.known.get(fact.job_id, (False, float("-inf")))
            if self.clock() - at < KNOWN_SECONDS:
                self.write(fact, chosen=chosen)
                return
        if self.count >= MAX_WAITING:
            self.lost += 1
            return
        self.waiting.setdefault(fact.job_id, []).append(fact)
        self.count += 1
        self.has_waiting.set()

    def write(self, fact: Fact, *, chosen: bool) -> None:
        """Write a line about a job that is known to be chosen, or not to be."""
        if chosen:
            log_at(logging.INFO, fact)
        else:
            log_fact(fact)

    async def keep_looking_up(self) -> None:
        """Look up the jobs of facts that wait, and write those facts, until cancelled."""
        while True:
            await self.has_waiting.wait()
            try:
                await self.look_up()
            except Exception as error:  # noqa: BLE001 - whatever it is, the facts wait
                log_fact(faulted("log_executions", error))
                await asyncio.sleep(RETRY_SECONDS)

    async def look_up(self) -> None:
        """Look up some of the jobs of facts that wait, and write those facts."""
        ids = list(islice(self.waiting, BATCH))
        chosen = frozenset(await self.choose(ids))
        now = self.clock()
        for id in ids:
            self.known.pop(id, None)
            self.known[id] = id in chosen, now
            facts = self.waiting.pop(id)
            self.count -= len(facts)
            for fact in facts:
                self.write(fact, chosen=id in chosen)
        for id in list(islice(self.known, max(len(self.known) - MAX_KNOWN, 0))):
            del self.known[id]
        lost, self.lost = self.lost, 0
        if lost:
            say_lost(lost, because="too many executions waited for a look-up of their jobs")
        if not self.waiting:
            self.has_waiting.clear()

    async def write_last(self) -> None:
        """Write what still waits as the instance ends, as far as Postgres answers in time."""
        with suppress(Exception):
            async with asyncio.timeout(LAST_SECONDS):
                while self.waiting:
                    await self.look_up()
