"""Jobs in Postgres, as clients write and read them."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import asdict

from app.core.jobs.exact_json import number
from app.core.jobs.identity import NIL
from app.core.jobs.job import JobState, PlannedJob, StoredJob
from app.core.jobs.names import NAME, job_id
from app.core.runs.outcome import Outcome
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import EARLIEST, LATEST
from app.db.database import MAX_SEARCHED, Acting, Database, Page, Row, Runner
from app.errors import JobNotFound
from app.wire.actions import AskedOverlap


class LegibleJob(StoredJob, frozen=True, kw_only=True):
    """A job whose target and metadata stay undecoded, as Python cannot hold them."""

    target: Raw  # type: ignore[assignment]
    metadata: Raw  # type: ignore[assignment]


MANY_AT_ONCE = 10_000
"""Jobs of a list that are put in order together: those with near next runs, or with a name."""

LINES: WeakValueDictionary[UUID | None, asyncio.Lock] = WeakValueDictionary()
"""Where those wait that make jobs with an API key that may make only so many, by the key's id."""

DECODER = msgspec.json.Decoder(StoredJob, float_hook=number)
LENIENT_DECODER = msgspec.json.Decoder(LegibleJob)
ENCODER = msgspec.json.Encoder()


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs to list; None in a field stands for any."""

    ids: Sequence[UUID] | None = None
    tags: Sequence[str] | None = None
    """A job has to have all of these tags."""
    kind: str | None = None
    state: JobState | None = None
    name_prefix: str | None = None
    text: str | None = None
    """A part of the name or description; case does not matter."""
    last_outcomes: Sequence[Outcome] | None = None
    """A job's latest execution ended with one of these."""
    host: str | None = None
    """The host, in lower case, of the `url` of a job's target."""
    failing: bool | None = None
    has_failed: bool | None = None
    """Whether a job's state is `failed`: no run of it is to come, and the last one failed."""
    next_before: datetime | None = None
    """The instant that the next run is before."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the queries that list jobs."""
        return {
            "kind": self.kind,
            "tags": self.tags,
            "state": self.state,
            "name_pattern": None if self.name_prefix is None else f"{literal(self.name_prefix)}%",
            "text_pattern": None if self.text is None else f"%{literal(self.text)}%",
            "last_outcomes": self.last_outcomes,
            "host": self.host,
            "failing": self.failing,
            "has_failed": self.has_failed,
        }

    def is_searched(self) -> bool:
        """Whether no index serves some of the filters."""
        searched = (
            *(self.kind, self.state, self.name_prefix, self.text, self.last_outcomes),
            *(self.host, self.has_failed, self.next_before),
        )
        return self.failing is False or any(one is not None for one in searched)


async def insert(db: Acting, jobs: Sequence[PlannedJob]) -> list[StoredJob]:
    """Insert all of the jobs, or none of them.

    Raises:
        NameTaken: one of the names belongs to another job.
        InvalidInput: the API key may not have made so many jobs.
    """
    written = ENCODER.encode(jobs).decode()
    if db.limits.max_jobs is None:
        rows = await db.fetch("jobs.insert", jobs=written)
    else:
        async with line_for(db):
            rows = await db.fetch(
                "jobs.insert_limited",
                jobs=written,
                key_id=db.limits.key_id,
                job_ids=[job.id for job in jobs],
            )
    stored = {job.id: job for job in stored_jobs(rows)}
    return [stored[job.id] for job in jobs]


def line_for(db: Acting) -> AbstractAsyncContextManager[object]:
    """Return the lock by which statements of this process that wait for one key wait in turn.

    So these take one connection of the pool. Statements of a transaction have theirs already.
    """
    if type(db) is not Database:
        return nullcontext()
    return LINES.setdefault(db.limits.key_id, asyncio.Lock())


async def find_ids(db: Runner, names: Iterable[str]) -> dict[str, UUID]:
    """Return the ids of the jobs that have these names, by their names."""
    rows = await db.fetch("jobs.ids", names=list(names))
    return {row["name"]: row["id"] for row in rows}


async def find_existing(db: Runner, ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the ids that jobs have."""
    return {row["id"] for row in await db.fetch("jobs.there", job_ids=list(ids))}


async def find(db: Runner, reference: str) -> StoredJob:
    """Find a job by its id or name.

    Raises:
        JobNotFound: no job has the id or name.
    """
    for job in stored_jobs(await db.fetch("jobs.find", **addressed(reference))):
        return job
    raise not_found(reference)


async def find_many(db: Runner, *, ids: Sequence[UUID], names: Sequence[str]) -> list[StoredJob]:
    """Find the jobs that have one of the ids or one of the names."""
    return stored_jobs(await db.fetch("jobs.find_many", job_ids=ids, names=names))


async def list_page(
    db: Database, wanted: JobFilter, *, before: UUID | None, limit: int
) -> Page[StoredJob]:
    """List jobs, newest first, from the first one older than `before`.

    More than `MANY_AT_ONCE` jobs with the name's prefix are searched for, like those of a kind.
    """
    searched = wanted.is_searched()
    found = await db.fetch_page(
        "jobs.page",
        end="jobs.page_end" if searched else None,
        before=before,
        limit=limit,
        window=int(MAX_SEARCHED * db.search_share) if searched else limit + 1,
        named=await find_named_ids(db, wanted),
        next_before=wanted.next_before,
        **wanted.arguments(),
    )
    reached = found.end and found.end["id"]
    return Page(items=stored_jobs(found.rows), more=found.more, reached=reached)


async def find_named_ids(db: Database, wanted: JobFilter) -> list[UUID] | None:
    """Return the ids of jobs whose name has the prefix; None without one, or if over `at_once` do.

    The names of jobs that are wanted by their ids are left to the page that judges them.
    """
    if wanted.ids is not None:
        return list(wanted.ids)
    pattern = wanted.arguments()["name_pattern"]
    if pattern is None:
        return None
    most = at_once(db)
    rows = await db.fetch_filtered("jobs.named", name_pattern=pattern, most=most + 1)
    return [row["id"] for row in rows] if len(rows) <= most else None


def at_once(db: Database) -> int:
    """Return how many jobs are put in order together, or found by their names."""
    return int(MANY_AT_ONCE * db.search_share)


async def count(db: Database, wanted: JobFilter) -> tuple[int, bool]:
    """Count the jobs that are found, and say whether these are all: of the first `MAX_SEARCHED`."""
    [row] = await db.fetch_filtered(
        "jobs.count",
        before=None,
        window=MAX_SEARCHED,
        named=await find_named_ids(db, wanted),
        next_before=wanted.next_before,
        **wanted.arguments(),
    )
    return row["found"], row["judged"] < MAX_SEARCHED


async def list_by_next_run(
    db: Database, wanted: JobFilter, *, after: tuple[datetime, UUID] | None, limit: int
) -> Page[StoredJob]:
    """List jobs that wait for a run, the next run first, from the first one behind `after`.

    A job that executes stands where its lease ends. Left out are jobs without a next run, paused
    and invalid ones, and those whose plan waits for a run beside it. The jobs are judged
    `at_once` at a time; if more have the same next run, the first `MAX_SEARCHED` of these.
    """
    since, last = after or (EARLIEST, NIL)
    end = LATEST + TICK if wanted.next_before is None else wanted.next_before
    for _ in range(MAX_SEARCHED // MANY_AT_ONCE):
        place = await db.fetch("jobs.next_run_place", since=since, window=at_once(db))
        until = max(place[0]["at"], since + TICK) if place else end
        found = await db.fetch_page(
            "jobs.page_by_next_run",
            since=since,
            until=min(until, end),
            after=last,
            most=MAX_SEARCHED,
            limit=limit,
            **wanted.arguments(),
        )
        jobs = stored_jobs(found.rows)
        if found.more:
            reached = (found.rows[-1]["at"], found.rows[-1]["id"])
            return Page(items=jobs, more=True, reached=reached)
        since, last = until, NIL
        if jobs or until >= end:
            return Page(items=jobs, more=until < end, reached=(since, last))
    return Page(items=[], more=True, reached=(since, last))


async def update(
    db: Runner, job: PlannedJob, *, unchanged_since: datetime, checked: bool
) -> StoredJob | None:
    """Write a job; return None if the job was edited after `unchanged_since`, or deleted.

    `checked`: the edit has a new target, and that was checked.

    Raises:
        NameTaken: the job's new name belongs to another job.
    """
    rows = await db.fetch(
        "jobs.update",
        job=ENCODER.encode(job).decode(),
        unchanged_since=unchanged_since,
        checked=checked,
    )
    return stored_jobs(rows)[0] if rows else None


async def update_many(
    db: Runner,
    jobs: Sequence[PlannedJob],
    *,
    unchanged_since: Sequence[datetime],
    checked: Sequence[bool],
    waiting_for: Sequence[datetime | None] | None = None,
) -> set[UUID]:
    """Write some jobs as `update` does, but none whose row is locked; return which were written.

    `waiting_for`: each job has to wait for its run at this instant still.
    """
    rows = await db.fetch(
        "jobs.update_many",
        jobs=ENCODER.encode(jobs).decode(),
        ids=[job.id for job in jobs],
        unchanged_since=unchanged_since,
        checked=checked,
        waiting=waiting_for is not None,
        next_runs=[None] * len(jobs) if waiting_for is None else waiting_for,
    )
    return {row["id"] for row in rows}


async def replace_many(
    db: Runner,
    jobs: Sequence[PlannedJob],
    *,
    unchanged_since: Sequence[datetime],
    checked: Sequence[bool],
) -> dict[UUID, StoredJob]:
    """Write some jobs as `update` does, and wait for each; return those that were written.

    Two calls wait for each other's rows in one order, so never both at once.
    """
    rows = await db.fetch(
        "jobs.replace_many",
        jobs=ENCODER.encode(jobs).decode(),
        ids=[job.id for job in jobs],
        unchanged_since=unchanged_since,
        checked=checked,
    )
    return {job.id: job for job in stored_jobs(rows)}


async def delete_many(
    db: Runner, ids: Sequence[UUID], *, unchanged_since: Sequence[datetime]
) -> set[UUID]:
    """Delete some jobs, but none that was edited since or is locked; return which were deleted."""
    rows = await db.fetch("jobs.delete_many", ids=ids, unchanged_since=unchanged_since)
    return {row["id"] for row in rows}


async def delete(db: Runner, reference: str, *, unchanged_since: datetime | None) -> bool:
    """Delete a job by its id or name; return False if there is none.

    A job that was edited after `unchanged_since`, unless that is None, is not deleted.
    """
    rows = await db.fetch("jobs.delete", **addressed(reference), unchanged_since=unchanged_since)
    return bool(rows)


async def run_now(
    db: Runner,
    id: UUID,
    *,
    occurrence: datetime | None = None,
    overlap: AskedOverlap = AskedOverlap.BUFFER_ALL,
) -> bool:
    """Make an extra run due now: a new run, or the past run `occurrence` again.

    Return False if the job is deleted, or has a retry pending, which a replay must not displace.

    Raises:
        InvalidInput: `overlap` refuses the run while another one is unfinished.
    """
    rows = await db.fetch("jobs.run_now", job_id=id, occurrence=occurrence, overlap=overlap)
    return bool(rows)


async def skip(db: Runner, id: UUID, *, runs: int | None, until: datetime | None) -> bool:
    """Skip so many runs of a job's plan, or all before an instant; return whether it was written.

    Exactly one of the two is given.
    """
    return bool(await db.fetch("jobs.skip", job_id=id, runs=runs, until=until))


async def unskip(db: Runner, id: UUID) -> bool:
    """Skip no runs of a job's plan any more; return whether it was written."""
    return bool(await db.fetch("jobs.unskip", job_id=id))


def stored_jobs(rows: Iterable[Row]) -> list[StoredJob]:
    """Read jobs out of rows; a job that Python cannot hold does not hide the others."""
    return [stored_job(row["job"]) for row in rows]


def stored_job(text: str) -> StoredJob:
    try:
        return DECODER.decode(text)
    except msgspec.ValidationError:  # such as a number of thousands of digits, written in SQL
        legible = LENIENT_DECODER.decode(text)
        return StoredJob(**asdict(legible) | {"target": {}, "metadata": {}})


def addressed(reference: str) -> dict[str, UUID | str | None]:
    """Return the arguments that find a job by an id or by a name.

    Raises:
        JobNotFound: no job can have such a name.
    """
    if id := job_id(reference):
        return {"job_id": id, "name": None}
    if not NAME.fullmatch(reference):
        raise not_found(reference)
    return {"job_id": None, "name": reference}


def not_found(reference: str) -> JobNotFound:
    what = "id" if job_id(reference) else "name"
    return JobNotFound(f"no job has the {what} {reference!r}")


def literal(text: str) -> str:
    """Escape the characters of a text that LIKE would take for wildcards."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
