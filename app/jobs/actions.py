"""The operations on a job but its edits and pauses: skip, run now, replay, cancel, delete."""

from datetime import datetime

from app.core.jobs.job import JobState, StoredJob
from app.core.runs.expectation import CHECK
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import instant_error
from app.db import Database, executions, jobs
from app.errors import (
    EditConflict,
    FieldError,
    InvalidInput,
    JobNotFound,
    StateConflict,
    WriteSuppressed,
)
from app.jobs.etag import require_match
from app.jobs.shown import told_error
from app.wire.actions import AskedOverlap, Skip
from app.wire.executions import Execution


async def run_now(
    db: Database, reference: str, *, overlap: AskedOverlap = AskedOverlap.BUFFER_ALL
) -> StoredJob:
    """Make an extra run of a job due now, and return the job as stored then.

    Raises:
        JobNotFound: no job has that id or name, or the job was deleted meanwhile.
        StateConflict: the job is a check, paused or invalid, or `overlap` refuses the run.
        WriteSuppressed: a trigger of users suppresses it.
    """
    job = await jobs.find(db, reference)
    check_runnable(job)
    if not await ask(db, job, overlap=overlap):
        await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        raise WriteSuppressed(f"the job {reference!r}")
    return await jobs.find(db, str(job.id))


async def skip(db: Database, reference: str, wanted: Skip, *, now: datetime) -> StoredJob:
    """Skip runs of a job's plan, in place of what was to be skipped so far; return the job.

    Raises:
        JobNotFound: no job has that id or name, or the job was deleted meanwhile.
        InvalidInput: not exactly one of the fields is given, the instant has passed, or no run of
            the job is planned.
        StateConflict: the job is over.
        WriteSuppressed: a trigger of users suppresses it.
    """
    if (wanted.runs is None) == (wanted.until is None):
        message = "give exactly one of runs and until"
        field = "runs" if wanted.runs is None else "until"
        raise InvalidInput(FieldError(field=field, message=message))
    if error := instant_error(wanted.until) or (
        "has passed: write a later instant" if wanted.until and wanted.until <= now else None
    ):
        raise InvalidInput(FieldError(field="until", message=error))
    job = await jobs.find(db, reference)
    check_skippable(job)
    if not await jobs.skip(db, job.id, runs=wanted.runs, until=wanted.until):
        await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        raise WriteSuppressed(f"the job {reference!r}")
    return await jobs.find(db, str(job.id))


async def unskip(db: Database, reference: str) -> StoredJob:
    """Skip no runs of a job's plan any more, and return the job as stored.

    Raises:
        JobNotFound: no job has that id or name, or the job was deleted meanwhile.
        WriteSuppressed: a trigger of users suppresses it.
    """
    job = await jobs.find(db, reference)
    if job.skip_runs is None and job.skip_until is None:
        return job
    if not await jobs.unskip(db, job.id):
        await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        raise WriteSuppressed(f"the job {reference!r}")
    return await jobs.find(db, str(job.id))


async def replay(
    db: Database, execution_id: int, *, overlap: AskedOverlap = AskedOverlap.BUFFER_ALL
) -> StoredJob:
    """Make the run of a past execution due again now, and return its job as stored then.

    Raises:
        ExecutionNotFound: no execution has that id.
        StateConflict: the job was deleted, is a check, paused or invalid, or waits for another
            retry, or `overlap` refuses the run.
        JobNotFound: the job was deleted meanwhile.
        WriteSuppressed: a trigger of users suppresses it.
    """
    past = await executions.find(db, execution_id)
    try:
        job = await jobs.find(db, str(past.job_id))
    except JobNotFound:
        message = f"the job {past.job_id} of this execution was deleted: create it again"
        raise StateConflict(message) from None
    check_runnable(job)
    if not await ask(db, job, occurrence=past.scheduled_for, overlap=overlap):
        job = await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        if job.state is JobState.RETRYING:
            message = "a retry of another run is pending: wait for it, or run the job first"
            raise StateConflict(message)
        raise WriteSuppressed(f"the job {job.name or str(job.id)!r}")
    return await jobs.find(db, str(job.id))


async def ask(
    db: Database, job: StoredJob, *, occurrence: datetime | None = None, overlap: AskedOverlap
) -> bool:
    """Ask for a run of a job, as `jobs.run_now`; return False if there is none.

    The job was deleted, has a retry that must come first, or a trigger suppressed the write.

    Raises:
        InvalidInput: another field than `overlap` is refused.
        StateConflict: another run is unfinished, and `overlap` refuses this one for that.
    """
    try:
        return await jobs.run_now(db, job.id, occurrence=occurrence, overlap=overlap)
    except InvalidInput as error:
        if [one.field for one in error.errors] != ["overlap"]:
            raise
        raise StateConflict(str(error)) from None


async def cancel(db: Database, execution_id: int, *, retry: bool) -> Execution:
    """Cancel an execution that is under way, and return its record.

    Another cancellation changes nothing. `retry`: whether another attempt follows, if one is left.

    Raises:
        ExecutionNotFound: no execution has that id.
        StateConflict: the execution has ended otherwise, or is that of a missed run.
        WriteSuppressed: a trigger of users suppresses it.
    """
    if await executions.cancel(db, execution_id, retry=retry):
        return await executions.find(db, execution_id)
    if await executions.is_under_way(db, execution_id):
        raise WriteSuppressed(f"the execution {execution_id}")
    past = await executions.find(db, execution_id)
    how = "was missed, and never started" if past.outcome is Outcome.MISSED else "has ended"
    message = f"the execution {execution_id} {how} ({past.outcome}): there is nothing to cancel"
    raise StateConflict(message)


async def delete_job(db: Database, reference: str, *, if_match: str | None = None) -> None:
    """Delete a job.

    Raises:
        JobNotFound: no job has that id or name.
        EditConflict: `If-Match` does not name the job's version, or it was edited meanwhile.
        WriteSuppressed: a trigger of users suppresses the deletion.
    """
    unchanged_since = None
    if if_match is not None:
        stored = await jobs.find(db, reference)
        require_match(if_match, stored)
        unchanged_since = None if if_match.strip() == "*" else stored.updated_at
    if not await jobs.delete(db, reference, unchanged_since=unchanged_since):
        stored = await jobs.find(db, reference)
        if unchanged_since in (None, stored.updated_at):
            raise WriteSuppressed(f"the job {reference!r}")
        message = f"the job {stored.id} was edited meanwhile: get it again and decide on that"
        raise EditConflict(message)


def check_skippable(job: StoredJob) -> None:
    """Refuse a job that has no run to skip.

    Raises:
        StateConflict: the job is over.
    """
    if job.state in {JobState.FINISHED, JobState.FAILED}:
        message = "the job is over: no run is planned that could be skipped"
        raise StateConflict(message)


def check_runnable(job: StoredJob) -> None:
    """Refuse a job whose runs would not be executed.

    Raises:
        StateConflict: the job is a check, paused or invalid.
    """
    if job.kind == CHECK:
        message = "a check only expects pings, and has nothing to run: run what sends them"
        raise StateConflict(message)
    if problem := told_error(job):
        message = f"the job cannot be executed until it is corrected: {problem}"
        raise StateConflict(message)
    if job.paused:
        message = "the job is paused: resume it first (POST /v1/jobs/{id or name}/resume)"
        raise StateConflict(message)
