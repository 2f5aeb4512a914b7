"""Pauses of jobs, of tags and of everything, and how they end."""

import asyncio
from datetime import datetime
from uuid import UUID

from app.core.jobs.beside import MissedRuns
from app.core.jobs.job import JobState, StoredJob, document_of
from app.core.runs.claim import Claim, Misfire, MisfirePolicy, Missed, RetryPolicy
from app.core.runs.resume import on_resumption
from app.core.schedule.schedule import instant_error
from app.db import Database, jobs, pauses
from app.db.clock import PolledClock
from app.errors import FieldError, InvalidInput, PauseNotFound, StateConflict, WriteSuppressed
from app.wire.pauses import EndedPause, JobPause, NewPause, Pause, PausePreview, Resumption

MAX_PAUSES = 1000
"""The most pauses that are listed."""
POLICIES = {
    Misfire.SKIP: Missed.SKIP,
    Misfire.RUN_ONCE: Missed.ONCE,
    Misfire.RUN_ALL: Missed.ALL,
}
"""What a misfire policy makes of missed runs, in the words of a resumption."""


def is_held(job: StoredJob) -> bool:
    """Whether it is the pause of a tag that pauses a job."""
    return job.pause is not None and job.pause.tag is not None


def check_until(until: datetime | None, *, now: datetime) -> None:
    """Refuse an end that has passed.

    Raises:
        InvalidInput: naming the field.
    """
    error = instant_error(until)
    if error is None and until is not None and until <= now:
        error = "has passed: write a later instant, or leave it out"
    if error:
        raise InvalidInput(FieldError(field="until", message=error))


async def pause_job(
    db: Database, clock: PolledClock, reference: str, wanted: JobPause
) -> StoredJob:
    """Pause a job, and return it as stored; without a reason or an end once is as good as twice.

    Raises:
        JobNotFound: no job has that id or name, or the job was deleted meanwhile.
        InvalidInput: the end has passed.
        WriteSuppressed: a trigger of users suppresses it.
    """
    check_until(wanted.until, now=await clock.now())
    job = await jobs.find(db, reference)
    if job.paused and wanted == JobPause() and not is_held(job):
        return job
    if not await pauses.pause_job(db, job.id, reason=wanted.reason, until=wanted.until):
        await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        raise WriteSuppressed(f"the job {reference!r}")
    return await jobs.find(db, str(job.id))


async def resume_job(
    db: Database, clock: PolledClock, reference: str, wanted: Resumption
) -> tuple[StoredJob, MissedRuns | None]:
    """Resume a job unless it is only asked for what that would do; return the job as stored.

    Return also what becomes of the runs that it missed; None for a job that is not paused.

    Raises:
        JobNotFound: no job has that id or name, or the job was deleted meanwhile.
        StateConflict: a tag of the job is paused.
        WriteSuppressed: a trigger of users suppresses it.
    """
    job = await jobs.find(db, reference)
    if not job.paused:
        return job, None
    missed = await missed_runs(db, job, wanted.missed, now=await clock.now())
    if wanted.dry_run:
        return job, missed
    if (tag := await pauses.find_pausing_tag(db, job.id)) is not None:
        message = f"the tag {tag!r} is paused: resume that (POST /v1/pauses/{{id}}/resume)"
        raise StateConflict(message)
    if not await pauses.resume_job(db, job.id, missed=wanted.missed):
        await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        raise WriteSuppressed(f"the job {reference!r}")
    return await jobs.find(db, str(job.id)), missed


async def missed_runs(
    db: Database, job: StoredJob, missed: Missed | None, *, now: datetime
) -> MissedRuns:
    """Count what `on_resumption` does of a paused job; of one without a due run nothing."""
    if job.next_run is None or job.next_run > now or job.state is JobState.INVALID:
        return MissedRuns(missed_runs=0, carried_out=0)
    claim = as_claimed(job, job.next_run, now=now)
    openings = await pauses.read_openings(db, job.id, since=claim.scheduled_for, until=now)
    try:
        return await asyncio.to_thread(on_resumption, claim, openings, missed, now=now)
    except InvalidInput:  # what was written past the triggers
        return MissedRuns(missed_runs=1, carried_out=0)


def as_claimed(job: StoredJob, next_run: datetime, *, now: datetime) -> Claim:
    """Return a job as the first attempt of its next run would be claimed now."""
    retry = RetryPolicy(
        max_attempts=job.max_attempts,
        backoff_seconds=job.backoff_seconds,
        backoff_max_seconds=job.backoff_max_seconds,
    )
    late = MisfirePolicy(
        misfire=job.misfire, grace_seconds=job.misfire_grace_seconds, max_catchup=job.max_catchup
    )
    return Claim(
        id=job.id,
        job_id=job.id,
        name=job.name,
        kind=job.kind,
        target="",
        schedule=document_of(job).schedule(),
        max_runs=job.max_runs,
        retry=retry,
        late=late,
        overlap=job.overlap,
        timeout_seconds=job.timeout_seconds,
        next_run=next_run,
        scheduled_for=job.scheduled_for or next_run,
        attempt=1,
        fence=0,
        execution_id=0,
        claimed_at=now,
        edited_at=job.updated_at,
        last_outcome=job.last_outcome,
        last_finished_at=job.last_finished_at,
        consecutive_failures=job.consecutive_failures,
        runs=job.runs,
        skip_runs=job.skip_runs,
        skip_until=job.skip_until,
        min_gap_seconds=job.min_gap_seconds,
    )


async def pause(db: Database, clock: PolledClock, wanted: NewPause) -> Pause | PausePreview:
    """Pause a tag, or everything; a pause of that there is already gets the reason and end given.

    With `dry_run` the jobs are counted, and nothing is changed.

    Raises:
        InvalidInput: not exactly one of the two is given, or the end has passed.
        StateConflict: the pause was ended at the same moment.
    """
    if wanted.all == (wanted.tag is not None):
        message = "give exactly one of tag and all: true"
        raise InvalidInput(
            FieldError(field="tag" if wanted.tag is None else "all", message=message)
        )
    if wanted.tag is not None and "," in wanted.tag:
        message = "has a comma, which no tag has: remove it"
        raise InvalidInput(FieldError(field="tag", message=message))
    check_until(wanted.until, now=await clock.now())
    if wanted.dry_run:
        return PausePreview(jobs=await pauses.count_waiting(db, wanted.tag))
    if wanted.tag is None:
        id = await pauses.pause_all(db, reason=wanted.reason, until=wanted.until)
    else:
        id = await pauses.pause_tag(db, wanted.tag, reason=wanted.reason, until=wanted.until)
    try:
        return await find(db, id)
    except PauseNotFound:
        message = "the pause was ended at the same moment: try again"
        raise StateConflict(message) from None


async def find(db: Database, id: UUID) -> Pause:
    """Find a pause of a tag or of everything.

    Raises:
        PauseNotFound: there is none of that id.
    """
    for one in await pauses.list_all(db, limit=MAX_PAUSES):
        if one.id == id:
            return one
    message = f"no pause has the id {str(id)!r}: perhaps it has ended"
    raise PauseNotFound(message)


async def end(db: Database, id: UUID, wanted: Resumption) -> EndedPause:
    """End a pause of a tag or of everything, or count what it holds up.

    Raises:
        PauseNotFound: there is none of that id.
    """
    one = await find(db, id)
    due_jobs = await pauses.count_jobs(db, one.id)
    if not wanted.dry_run:
        await pauses.end(db, one.id, missed=wanted.missed)
    return EndedPause(due_jobs=due_jobs, dry_run=wanted.dry_run)
