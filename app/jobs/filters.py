"""Turns what clients filter by into the filters of lists, for pages and bulk actions alike."""

from uuid import UUID

from msgspec.structs import replace

from app.core.jobs.names import job_id
from app.db import jobs
from app.db.database import Database
from app.db.executions import ExecutionFilter
from app.db.jobs import JobFilter
from app.errors import FieldError, InvalidInput, JobNotFound
from app.wire.bulk import BulkFilter
from app.wire.filters import known_outcomes, known_statuses, listed, sound


def as_list(given: str | list[str] | None) -> list[str] | None:
    return [given] if isinstance(given, str) else given


async def read_bulk_job_filter(db: Database, given: BulkFilter, *, path: str) -> JobFilter:
    """Read the filters of a list of jobs, and the one job that a bulk action may name.

    Raises:
        InvalidInput: one of them cannot be, or no job has the name.
    """
    wanted = job_filter(given, path=path)
    if given.job is None:
        return wanted
    return replace(wanted, ids=[await find_job_id(db, given.job, f"{path}job")])


def job_filter(given: BulkFilter, *, path: str = "") -> JobFilter:
    """Read the filters of a list of jobs; `path` comes before the names of fields in errors.

    Raises:
        InvalidInput: one of them cannot be.
    """
    return JobFilter(
        tags=listed(as_list(given.tag)),
        kind=given.kind,
        state=given.state,
        name_prefix=given.name,
        text=given.q,
        last_outcomes=known_outcomes(as_list(given.last_outcome), f"{path}last_outcome"),
        host=None if given.host is None else given.host.lower(),
        failing=given.failing,
        next_before=sound(given.next_before, f"{path}next_before"),
    )


async def read_execution_filter(
    db: Database, given: BulkFilter, *, path: str = ""
) -> ExecutionFilter:
    """Read the filters of a list of executions.

    Raises:
        InvalidInput: one of them cannot be, or no job has the name.
    """
    return ExecutionFilter(
        job_id=None if given.job is None else await find_job_id(db, given.job, f"{path}job"),
        outcomes=known_outcomes(as_list(given.outcome), f"{path}outcome"),
        since=sound(given.since, f"{path}from"),
        until=sound(given.until, f"{path}to"),
        tags=listed(as_list(given.tag)),
        kind=given.kind,
        host=None if given.host is None else given.host.lower(),
        reasons=listed(as_list(given.reason)),
        statuses=known_statuses(as_list(given.status), f"{path}status"),
        late_by=given.late_by,
        slower_than=given.slower_than,
        dead_letter=given.dead_letter,
    )


async def find_job_id(db: Database, reference: str, field: str = "job") -> UUID:
    """Return the id of the job that a filter names; an id may be that of a deleted job.

    Raises:
        InvalidInput: no job has the name.
    """
    try:
        return job_id(reference) or (await jobs.find(db, reference)).id
    except JobNotFound:
        message = f"no job has the name {reference!r}: write its id where it was deleted"
        raise InvalidInput(FieldError(field=field, message=message)) from None
