"""How a job stands, what it did and what is asked of it: the part of its page that is live."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from app.core.jobs.job import StoredJob
from app.db import executions, explanations, jobs, pages
from app.db.clock import PolledClock
from app.db.database import Database
from app.db.executions import ExecutionFilter
from app.errors import DatabaseUnavailable, JobNotFound
from app.jobs.shown import masked_job
from app.web import facts
from app.web.facts import Fact, Seen, see_all, see_once
from app.web.pictures import STRIP_BARS, Ended
from app.web.rendering import render
from app.wire.executions import Execution
from app.wire.explanations import Explanation

T = TypeVar("T")

PENDING = 20
"""Runs beside the plan that are shown."""
SECONDS = 0.5
"""How old a part of an open page may be: less than what lies between two looks at it."""
PATIENCE_SECONDS = 2.0
"""How long an open page waits for a part: as long as Postgres lets the statements of pages take."""
DELETED = '<p class="standing unknown"><strong>The job was deleted</strong></p>'


class Run(Struct, frozen=True, kw_only=True):
    """The executions of one run, the last attempt first."""

    scheduled_for: datetime
    attempts: Sequence[Execution]


class Standing(Struct, frozen=True, kw_only=True):
    """How a job stands, by parts that are read by themselves."""

    job: StoredJob
    stands: Seen[Explanation]
    ended: Seen[Sequence[Execution]]
    pending: Seen[Sequence[pages.PendingRun]]
    at: datetime
    trouble: str = ""
    """Why the job itself is not as it is by now; empty if it is."""

    def context(self) -> dict[str, Any]:
        """Return what the template of the part is given."""
        ended = self.ended.value or ()
        return {
            "job": masked_job(self.job),
            "stands": self.stands,
            "ran": self.ended,
            "strip_of": [
                Ended(str(one.outcome), one.duration_seconds, one.finished_at)
                for one in reversed(ended)
            ],
            "runs": by_run(ended),
            "asked": self.pending,
            "most_pending": PENDING,
            "at": self.at,
            "trouble": self.trouble,
        }


def by_run(listed: Sequence[Execution]) -> list[Run]:
    """Gather executions, the newest first, by their runs."""
    found: dict[datetime, list[Execution]] = {}
    for one in listed:
        found.setdefault(one.scheduled_for, []).append(one)
    return [Run(scheduled_for=at, attempts=attempts) for at, attempts in found.items()]


async def read_ended(reader: Database, id: UUID) -> Sequence[Execution]:
    """List the last executions of a job."""
    wanted = ExecutionFilter(job_id=id)
    return (await executions.list_page(reader, wanted, before=None, limit=STRIP_BARS)).items


async def read_pending(reader: Database, id: UUID) -> Sequence[pages.PendingRun]:
    """List the runs of a job beside its plan, and one more than is shown."""
    return await pages.list_pending_runs(reader, id, limit=PENDING + 1)


async def read_standing(reader: Database, clock: PolledClock, job: StoredJob) -> Standing:
    """Read how a job stands, for one page.

    Raises:
        JobNotFound: it was deleted meanwhile.
    """
    stands, ended, pending, at = await asyncio.gather(
        see_once(explanations.explain(reader, str(job.id))),
        see_once(read_ended(reader, job.id)),
        see_once(read_pending(reader, job.id)),
        clock.now(),
    )
    return Standing(job=job, stands=stands, ended=ended, pending=pending, at=at)


def part(read: Callable[[], Awaitable[T]]) -> Fact[T]:
    """Return a part of a page that is open."""
    return Fact(read, seconds=SECONDS, patience=PATIENCE_SECONDS)


class WatchedJob:
    """A job whose page is open: its parts are read as long as somebody looks."""

    def __init__(self, reader: Database, clock: PolledClock, id: UUID, *, root: str) -> None:
        self.clock = clock
        self.root = root
        self.job = part(partial(jobs.find, reader, str(id)))
        self.stands = part(partial(explanations.explain, reader, str(id)))
        self.ended = part(partial(read_ended, reader, id))
        self.pending = part(partial(read_pending, reader, id))
        self.parts: Sequence[Fact[Any]] = (self.job, self.stands, self.ended, self.pending)

    def __repr__(self) -> str:
        return f"<WatchedJob: {self.job}>"

    async def make_live(self) -> str:
        """Make the live part of the page.

        Raises:
            DatabaseUnavailable: nothing of it can be read, or the job itself was not read yet.
        """
        await see_all(self.parts)
        errors = [one.error for one in self.parts]
        if any(isinstance(error, JobNotFound) for error in errors):
            return DELETED
        job = self.job.value
        if job is None or all(isinstance(error, DatabaseUnavailable) for error in errors):
            raise self.job.error or DatabaseUnavailable("the job is still being read")
        standing = Standing(
            job=job,
            stands=self.stands.shown(),
            ended=self.ended.shown(),
            pending=self.pending.shown(),
            at=await self.clock.now(),
            trouble=self.job.trouble,
        )
        return render("job_now.html", root=self.root, **standing.context())

    async def end(self) -> None:
        """Stop what is being read."""
        await facts.end(self.parts)
