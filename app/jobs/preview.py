"""What a schedule comes to before any job has it, or once a job gets it."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from app.core.jobs.beside import Outlook
from app.core.jobs.identity import NIL
from app.core.jobs.job import SCHEDULE_FIELDS, JobState, StoredJob
from app.core.runs.claim import OnClosed
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import (
    Schedule,
    check,
    count_runs,
    first_run,
    normalized,
    run_after,
)
from app.core.schedule.spread import effective
from app.core.schedule.words import describe
from app.core.schedule.zones import zone_named
from app.core.sets.runs import course_of
from app.db import Database, calendars, instances, jobs
from app.errors import JobNotFound
from app.wire.schedules import PreviewedRun, PreviewedSchedule, SchedulePreview

OUTLOOK_RUNS = 5


async def preview(db: Database, given: SchedulePreview, *, now: datetime) -> PreviewedSchedule:
    """Describe a schedule in words, and list its first runs after `now`.

    Raises:
        InvalidInput: with an error for each field of the schedule that is wrong.
    """
    schedule = normalized(Schedule(**{name: getattr(given, name) for name in SCHEDULE_FIELDS}))
    id = given.job_id or NIL
    check(schedule, job_id=id, now=now)
    runs = next_runs(schedule, id, now=now, count=given.count)
    job = await find_job(db, given.job_id)
    calendars_given = given.calendars
    if calendars_given is None and job is not None:
        calendars_given = job.calendars
    return PreviewedSchedule(
        description=describe(schedule, job_id=id),
        runs=await preview_runs(db, schedule, id, runs, job=job, keeps_to=calendars_given),
    )


async def preview_runs(  # noqa: PLR0913 - what runs are judged by
    db: Database,
    schedule: Schedule,
    id: UUID,
    runs: Sequence[datetime],
    *,
    job: StoredJob | None,
    keeps_to: Sequence[str] | None,
) -> list[PreviewedRun]:
    """Say of runs when they start, and which are skipped or fall into time that is closed."""
    zone = zone_named(schedule.timezone)
    skipped = skipped_among(job, schedule, runs)
    closed = await calendars.find_closed_at(db, keeps_to, runs) if keeps_to and runs else {}
    return [
        PreviewedRun(
            at=run,
            local=run.astimezone(zone),
            effective_at=effective(schedule, run, job_id=id),
            skipped=run in skipped,
            closed_until=closed.get(run),
        )
        for run in runs
    ]


async def find_outlook(db: Database, job: StoredJob, *, now: datetime) -> Outlook:
    """Say what becomes of a job that was just written.

    Its runs are those of its plan: none while it is paused, or once it is over.
    """
    course = course_of(job, now=now)
    runs = [] if job.paused else [*islice(course, OUTLOOK_RUNS)]
    shown = await preview_runs(db, course.schedule, job.id, runs, job=job, keeps_to=job.calendars)
    starts = (
        one.effective_at
        if one.closed_until is None
        else one.closed_until
        if job.on_closed is OnClosed.NEXT_OPEN
        else None
        for one in shown
        if not one.skipped
    )
    return Outlook(
        description=describe(course.schedule, job_id=job.id),
        next_runs=[start for start in starts if start is not None],
        has_instance=job.kind in await instances.list_kinds_alive(db),
    )


def next_runs(schedule: Schedule, job_id: UUID, *, now: datetime, count: int) -> list[datetime]:
    """List the first runs after `now`, fewer where the schedule ends before."""
    runs: list[datetime] = []
    run = first_run(schedule, job_id=job_id, now=now)
    while run is not None and len(runs) < count:
        runs.append(run)
        run = run_after(schedule, run, job_id=job_id)
    return runs


async def find_job(db: Database, job_id: UUID | None) -> StoredJob | None:
    """Return the job of an id; None without one, or if there is no such job."""
    if job_id is None:
        return None
    try:
        return await jobs.find(db, str(job_id))
    except JobNotFound:
        return None


def skipped_among(
    job: StoredJob | None, schedule: Schedule, runs: Sequence[datetime]
) -> set[datetime]:
    """Return which of these runs of a schedule a job is to skip; none without a job."""
    if job is None or not runs:
        return set()
    early = {run for run in runs if job.skip_until is not None and run < job.skip_until}
    if not job.skip_runs or job.next_run is None:
        return early
    begun = job.state in {JobState.EXECUTING, JobState.RETRYING}
    following = (None if begun else job.scheduled_for) or job.next_run
    ahead = [run for run in runs if run > following or (run == following and not begun)]
    passed = 0  # of the runs to skip, before the first one that is shown
    if ahead and following < ahead[0]:
        passed = count_runs(
            schedule,
            job_id=job.id,
            first=following,
            until=ahead[0] - TICK,
            limit=job.skip_runs + 1,
        )
        passed -= begun
    return early | set(ahead[: max(job.skip_runs - passed, 0)])
