"""Pauses of jobs, of tags and of everything, and how they end."""

import asyncio
from datetime import datetime
from typing import assert_never
from uuid import UUID

from app.core.jobs.beside import MissedRuns
from app.core.jobs.job import JobState, StoredJob, document_of
from app.core.runs.claim import Misfire, Missed
from app.core.runs.missed_runs import COUNTED_RUNS
from app.core.schedule.schedule import count_runs, instant_error
from app.core.schedule.spread import last_started
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
    missed = await asyncio.to_thread(missed_runs, job, wanted.missed, now=await clock.now())
    if wanted.dry_run:
        return job, missed
    if (tag := await pauses.find_pausing_tag(db, job.id)) is not None:
        message = f"the tag {tag!r} is paused: resume that (POST /v1/pauses/{{id}}/resume)"
        raise StateConflict(message)
    if not await pauses.resume_job(db, job.id, missed=wanted.missed):
        await jobs.find(db, str(job.id))  # raises where the job was deleted meanwhile
        raise WriteSuppressed(f"the job {reference!r}")
    return await jobs.find(db, str(job.id)), missed


def missed_runs(job: StoredJob, missed: Missed | None, *, now: datetime) -> MissedRuns:
    """Count the runs that a paused job has missed up to now, and those that are carried out.

    `missed`: what is to become of them; None: what the misfire policy of the job says, to which
    those within the grace are not missed.
    """
    if job.next_run is None or job.next_run > now or job.state is JobState.INVALID:
        return MissedRuns(missed_runs=0, carried_out=0)
    schedule, first, until = document_of(job).schedule(), job.next_run, now
    try:
        if schedule.has_jitter:
            first = job.scheduled_for or job.next_run
            until = last_started(schedule, job_id=job.id, after=first, until=now) or first
        many = count_runs(schedule, job_id=job.id, first=first, until=until, limit=COUNTED_RUNS)
    except InvalidInput:  # what was written past the triggers
        many = 1
    policy = missed or POLICIES[job.misfire]
    one_off = job.run_at is not None
    match policy:
        case Missed.SKIP:
            kept = 1 if one_off and missed is None and job.misfire_grace_seconds is None else 0
        case Missed.ONCE:
            kept = 1
        case Missed.ALL:
            kept = many if one_off else min(many, job.max_catchup)
        case _:
            assert_never(policy)
    return MissedRuns(missed_runs=many, carried_out=min(kept, many))


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
