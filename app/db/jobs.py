"""Jobs in Postgres, as clients write and read them."""

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
    """A job whose target and metadata stay undecoded, as Python cannot hold them."""

    target: Raw  # type: ignore[assignment]
    metadata: Raw  # type: ignore[assignment]


DECODER = msgspec.json.Decoder(StoredJob, float_hook=number)
LENIENT_DECODER = msgspec.json.Decoder(LegibleJob)
ENCODER = msgspec.json.Encoder()


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs to list; None in a field stands for any."""

    tags: Sequence[str] | None = None
    """A job has to have all of these tags."""
    kind: str | None = None
    state: JobState | None = None
    name_prefix: str | None = None
    text: str | None = None
    """A part of the name or description; case does not matter."""


async def insert(db: Runner, jobs: Sequence[PlannedJob]) -> list[StoredJob]:
    """Insert all of the jobs, or none of them.

    Raises:
        NameTaken: one of the names belongs to another job.
    """
    rows = await db.fetch("jobs.insert", jobs=ENCODER.encode(jobs).decode())
    stored = {job.id: job for job in stored_jobs(rows)}
    return [stored[job.id] for job in jobs]


async def find_taken_names(db: Runner, names: Iterable[str]) -> set[str]:
    """Return which of the names belong to jobs."""
    rows = await db.fetch("jobs.names_taken", names=list(names))
    return {row["name"] for row in rows}


async def find(db: Runner, reference: str) -> StoredJob:
    """Find a job by its id or name.

    Raises:
        JobNotFound: no job has the id or name.
    """
    for job in stored_jobs(await db.fetch("jobs.find", **addressed(reference))):
        return job
    raise not_found(reference)


async def list_page(
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


async def update(
    db: Runner, job: PlannedJob, *, unchanged_since: datetime, checked: bool
) -> StoredJob | None:
    """Write a job; return None if the job was edited after `unchanged_since`, or deleted.

    `checked`: its target is another one than before, which was checked.

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


async def delete(db: Runner, reference: str, *, unchanged_since: datetime | None) -> bool:
    """Delete a job by its id or name; return False if there is none.

    A job that was edited after `unchanged_since`, unless that is None, is not deleted.
    """
    rows = await db.fetch("jobs.delete", **addressed(reference), unchanged_since=unchanged_since)
    return bool(rows)


async def run_now(db: Runner, id: UUID, *, occurrence: datetime | None = None) -> bool:
    """Make an extra run due now: a new run, or the past run `occurrence` again.

    Return False if the job is deleted, or has a retry pending, which a replay must not displace.
    """
    return bool(await db.fetch("jobs.run_now", job_id=id, occurrence=occurrence))


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
