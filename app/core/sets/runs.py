"""The next runs of a job before and after a change of its schedule, and those that fall away."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.jobs.job import JobState, StoredJob, document_of
from app.core.schedule.schedule import Schedule, latest_run, run_after
from app.core.schedule.zones import moment_of_change, offset_at, zone_named
from app.errors import InvalidInput

DAY = timedelta(days=1)
SHOWN_RUNS = 5
"""How many runs a plan shows of a schedule."""


class RunsChange(Struct, frozen=True, kw_only=True):
    """What a plan does to the next runs of a job: to their nominal instants."""

    before: Sequence[datetime]
    after: Sequence[datetime]
    dropped: Sequence[datetime]
    """The runs in `before` that the new schedule does not have."""
    notes: Annotated[
        Sequence[str], Meta(description="Changes of the clocks about the runs after.")
    ] = ()


class Course(Struct, frozen=True, kw_only=True):
    """The runs that a job has from `first` on."""

    job_id: UUID
    schedule: Schedule
    first: datetime | None
    left: int | None = None
    """How many runs are left; None: no limit."""

    def __iter__(self) -> Iterator[datetime]:
        run, passed = self.first, 0
        while run is not None and (self.left is None or passed < self.left):
            yield run
            run = run_after(self.schedule, run, job_id=self.job_id)
            passed += 1

    def has(self, run: datetime) -> bool:
        """Whether one of its runs is at this instant."""
        if self.first is None or run < self.first:
            return False
        last = latest_run(self.schedule, job_id=self.job_id, after=self.first, until=run)
        return last == run


def course_of(job: StoredJob, *, now: datetime) -> Course:
    """Return the runs to come of a job as it is; none where it cannot be planned."""
    schedule = document_of(job).schedule()
    left = None if job.max_runs is None else max(job.max_runs - job.runs, 0)
    try:
        first = next_run(job, schedule, now=now)
    except InvalidInput:  # as a person may have typed it
        first = None
    return Course(job_id=job.id, schedule=schedule, first=first, left=left)


def next_run(job: StoredJob, schedule: Schedule, *, now: datetime) -> datetime | None:
    """Return the nominal instant of the first run of a job that has not begun."""
    if job.plan_error is not None or job.next_run is None:
        return None
    planned = job.scheduled_for or job.next_run
    begun = job.state in {JobState.EXECUTING, JobState.RETRYING}
    if schedule.run_at is not None:
        return None if begun else planned
    if planned >= now and not begun:
        return planned
    last = latest_run(schedule, job_id=job.id, after=planned, until=max(planned, now))
    return run_after(schedule, last or planned, job_id=job.id)


def runs_change(before: Course | None, after: Course | None) -> RunsChange:
    """Compare two courses; None: there is no job, or it no longer runs."""
    early = [] if before is None else list(islice(before, SHOWN_RUNS))
    late = [] if after is None else list(islice(after, SHOWN_RUNS))
    dropped = [run for run in early if after is None or (run not in late and not after.has(run))]
    notes = [] if after is None else [*clock_notes(after.schedule, late)]
    return RunsChange(before=early, after=late, dropped=dropped, notes=notes)


def clock_notes(schedule: Schedule, runs: Sequence[datetime]) -> Iterator[str]:
    """Say when clocks are changed between the day before the first of these runs and the last."""
    if schedule.cron is None or not runs:
        return
    zone = zone_named(schedule.timezone)
    low, high = runs[0] - DAY, runs[-1]
    ahead = offset_at(zone, high) - offset_at(zone, low)
    if not ahead:
        return
    minutes = abs(ahead).total_seconds() / 60
    at = f"{moment_of_change(zone, low, high).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if ahead > timedelta(0):
        ways = f"go forward by {minutes:g} minutes at {at}: what falls into these"
        yield f"clocks of {schedule.timezone} {ways} is by dst_gap, {schedule.dst_gap}"
    else:
        ways = f"go back by {minutes:g} minutes at {at}: what comes twice"
        yield f"clocks of {schedule.timezone} {ways} is by dst_overlap, {schedule.dst_overlap}"
