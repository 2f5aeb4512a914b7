"""What pages of the dashboard show beside the lists of the API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.jobs.exact_json import number
from app.core.jobs.job import JobState
from app.core.schedule.schedule import Schedule
from app.db.connections import OF_PAGES
from app.db.database import Database, Runner

LIMIT_SECONDS = 2.0
"""How long Postgres works on a statement of a page before it gives up."""
SEARCH_SHARE = 0.1
"""How much of what a search of the API looks at one of a page does: for 50 milliseconds."""
MAX_LEASES = 10_000
MAX_COUNTED = 10_000
MAX_TROUBLED = 1000
"""Executions that did not succeed of which those of the last day are shown."""


class UnderWay(Struct, frozen=True, kw_only=True):
    """An execution that is under way."""

    execution_id: int | None
    job_id: UUID
    name: str | None
    kind: str | None
    scheduled_for: datetime | None
    attempt: int | None
    claimed_at: datetime | None
    instance: str | None


class Troubled(Struct, frozen=True, kw_only=True):
    """A job of which executions did not succeed, by the newest of these, in short."""

    id: int
    job_id: UUID
    job_name: str | None
    many: int
    """How many did not succeed."""
    outcome: str
    reason: str | None
    scheduled_for: datetime
    finished_at: datetime
    status_code: int | None
    error: str | None


class Minute(Struct, frozen=True, kw_only=True):
    """How many executions ended how in one minute."""

    at: datetime
    succeeded: int
    failed: int
    missed: int


class Hour(Struct, frozen=True, kw_only=True):
    """How the executions of an hour ended, and how late runs of the plan started, in seconds."""

    minutes: Sequence[Minute]
    p50: float | None
    """None: there were none."""
    p99: float | None


class Attention(Struct, frozen=True, kw_only=True):
    """A job that needs somebody."""

    sort: str
    """Why: `late`, `invalid`, `failing` or, for good, `failed`."""
    id: UUID
    name: str | None
    plan_error: str | None
    last_outcome: str | None
    consecutive_failures: int
    next_run: datetime | None
    last_finished_at: datetime | None
    since: datetime | None
    """When a late one was due."""


class ListedJob(Schedule, frozen=True, kw_only=True):
    """A job as a row of a list shows it: its schedule, and how it stands."""

    id: UUID
    name: str | None
    tags: tuple[str, ...]
    state: JobState
    failing: bool
    next_run: datetime | None


class ListRow(Struct, frozen=True, kw_only=True):
    """A job of a list, and how its last executions ended, the newest first."""

    job: ListedJob
    outcomes: Sequence[str]
    seconds: Sequence[float | None]
    finished_at: Sequence[datetime]


class PendingRun(Struct, frozen=True, kw_only=True):
    """A run of a job beside its plan, which is not over."""

    id: UUID
    request: str | None
    """What asked for it: `run_now`, `replay`, `backfill`; None: it is one of the plan's."""
    scheduled_for: datetime | None
    next_run: datetime | None
    attempt: int
    created_at: datetime
    plan_error: str | None
    is_executing: bool
    execution_id: int | None


class Firing(Struct, frozen=True, kw_only=True):
    """What an alert rule has told of a job and is not over."""

    rule: str
    is_unheard: bool
    """Whether the rule has no channel, so that nobody is told."""
    event: str
    job_id: UUID
    job_name: str | None
    many: int
    since: datetime
    told_at: datetime
    execution_id: int | None


LISTED = msgspec.json.Decoder(ListedJob, float_hook=number)


@asynccontextmanager
async def reading_pool(url: str, *, application_name: str) -> AsyncIterator[Database]:
    """Open the small pool of the pages, so that they neither wait for the API nor hold it up."""
    async with Database.connect(
        url,
        application_name=application_name,
        max_connections=OF_PAGES,
        settings={
            "statement_timeout": f"{LIMIT_SECONDS * 1000:.0f}",
            "default_transaction_read_only": "on",
        },
    ) as db:
        db.search_share = SEARCH_SHARE
        yield db


async def list_under_way(db: Runner, *, limit: int) -> list[UnderWay]:
    """List executions that are under way, the one first that began first."""
    rows = await db.fetch("pages.under_way", window=MAX_LEASES, limit=limit)
    return [UnderWay(**row) for row in rows]


async def list_attention(db: Database, *, late_seconds: float, few: int) -> list[Attention]:
    """List what needs somebody, `few` of each sort: late, cannot run, fails, ended in failure."""
    rows = await db.fetch("pages.attention", late_seconds=late_seconds, few=few)
    return [Attention(**row) for row in rows]


async def list_troubled(db: Runner, *, since: datetime, limit: int) -> list[Troubled]:
    """List jobs with executions that did not succeed, among the newest `MAX_TROUBLED` of these."""
    rows = await db.fetch("pages.troubled", since=since, window=MAX_TROUBLED, limit=limit)
    return [Troubled(**row) for row in rows]


async def read_hour(db: Runner, *, since: datetime) -> Hour:
    """Count the newest executions by minute and outcome, and measure how late they started."""
    [row] = await db.fetch("pages.hour", since=since, most=MAX_COUNTED)
    return Hour(
        minutes=msgspec.json.decode(row["minutes"], type=list[Minute]),
        p50=row["p50"],
        p99=row["p99"],
    )


async def list_rows(db: Runner, ids: Sequence[UUID], *, most: int) -> list[ListRow]:
    """Read jobs as rows of a list, with their last executions; deleted ones are left out."""
    return [
        ListRow(
            job=LISTED.decode(row["job"]),
            outcomes=row["outcomes"],
            seconds=row["seconds"],
            finished_at=row["finished_at"],
        )
        for row in await db.fetch("pages.rows", ids=ids, most=most)
    ]


async def list_pending_runs(db: Runner, job_id: UUID, *, limit: int) -> list[PendingRun]:
    """List runs of a job beside its plan, the one first that was asked for first."""
    rows = await db.fetch("pages.pending_runs", job_id=job_id, limit=limit)
    return [PendingRun(**row) for row in rows]


async def list_firing(db: Runner, *, limit: int) -> list[Firing]:
    """List what alert rules have told and is not over, the latest first."""
    return [Firing(**row) for row in await db.fetch("pages.firing", limit=limit)]


async def count_in_minute(db: Runner, *, at: datetime, but: UUID) -> int:
    """Count the other jobs that start next within a minute from `at` on, up to `MAX_COUNTED`."""
    [row] = await db.fetch("pages.in_minute", at=at, but=but, most=MAX_COUNTED)
    return int(row["jobs"])
