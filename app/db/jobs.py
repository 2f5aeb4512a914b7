"""What people do with jobs, in Postgres."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import asdict

from app.core.jobs.exact_json import number
from app.core.jobs.job import NAME, JobState, PlannedJob, StoredJob, job_id
from app.db.database import Database, Page, Row, Runner
from app.errors import JobNotFound


class LegibleJob(StoredJob, frozen=True, kw_only=True):
    """A job whose JSON inside is left alone."""

    target: Raw  # type: ignore[assignment] # in place of what cannot be read
    metadata: Raw  # type: ignore[assignment]


DECODER = msgspec.json.Decoder(StoredJob, float_hook=number)
LENIENT_DECODER = msgspec.json.Decoder(LegibleJob)
ENCODER = msgspec.json.Encoder()


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs to list; None: any."""

    tags: Sequence[str] | None = None
    """All of them."""
    kind: str | None = None
    state: JobState | None = None
    name_prefix: str | None = None
    text: str | None = None
    """A part of the name or description, in upper or lower case."""


async def insert(db: Runner, jobs: Sequence[PlannedJob]) -> list[StoredJob]:
    """Insert all of the jobs, or none.

    Raises:
        NameTaken: one of the names belongs to another job.
    """
    rows = await db.fetch("jobs.insert", jobs=ENCODER.encode(jobs).decode())
    stored = {job.id: job for job in stored_jobs(rows)}
    return [stored[job.id] for job in jobs]


async def names_taken(db: Runner, names: Iterable[str]) -> set[str]:
    """Return those of the names that jobs have."""
    rows = await db.fetch("jobs.names_taken", names=list(names))
    return {row["name"] for row in rows}


async def find(db: Runner, reference: str) -> StoredJob:
    """Find a job by its id or name.

    Raises:
        JobNotFound: there is none.
    """
    for job in stored_jobs(await db.fetch("jobs.find", **addressed(reference))):
        return job
    raise not_found(reference)


async def page(
    db: Database, wanted: JobFilter, *, before: UUID | None, limit: int
) -> Page[StoredJob]:
    """List jobs, newest first, from the first one older than `before`."""
    found = await db.fetch_page(
        "jobs.page",
        before=before,
        limit=limit,
        kind=wanted.kind,
        tags=wanted.tags,
        state=wanted.state,
        name_pattern=None if wanted.name_prefix is None else f"{literal(wanted.name_prefix)}%",
        text_pattern=None if wanted.text is None else f"%{literal(wanted.text)}%",
    )
    return Page(items=stored_jobs(found.rows), more=found.more)


async def update(db: Runner, job: PlannedJob, *, unchanged_since: datetime) -> StoredJob | None:
    """Write a job that nobody edited since; None: somebody did, or it is gone.

    Raises:
        NameTaken: its new name belongs to another job.
    """
    rows = await db.fetch(
        "jobs.update", job=ENCODER.encode(job).decode(), unchanged_since=unchanged_since
    )
    return stored_jobs(rows)[0] if rows else None


async def delete(db: Runner, reference: str, *, unchanged_since: datetime | None) -> bool:
    """Delete a job, by its id or name, that nobody edited since; tell whether there was one."""
    rows = await db.fetch("jobs.delete", **addressed(reference), unchanged_since=unchanged_since)
    return bool(rows)


async def run_now(db: Runner, id: UUID, *, occurrence: datetime | None = None) -> bool:
    """Make a run, or that occurrence again, due now.

    False: the job is gone, or a retry is pending, which a replay must not displace.
    """
    return bool(await db.fetch("jobs.run_now", job_id=id, occurrence=occurrence))


def stored_jobs(rows: Iterable[Row]) -> list[StoredJob]:
    """Read the jobs out of rows. One that Python cannot hold must not hide the others."""
    return [stored_job(row["job"]) for row in rows]


def stored_job(text: str) -> StoredJob:
    try:
        return DECODER.decode(text)
    except msgspec.ValidationError:  # a number of thousands of digits, typed by hand
        legible = LENIENT_DECODER.decode(text)
        return StoredJob(**asdict(legible) | {"target": {}, "metadata": {}})


def addressed(reference: str) -> dict[str, UUID | str | None]:
    """Say by what to look a job up.

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
    """Quote what a pattern of LIKE would take for wildcards."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
