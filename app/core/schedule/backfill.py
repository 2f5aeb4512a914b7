"""The runs that a schedule has in a range of the past."""

from datetime import UTC, datetime
from uuid import UUID

from app.core.jobs.identity import EPOCH
from app.core.schedule.occurrences import TICK, Interval, ZonedCron
from app.core.schedule.schedule import Schedule, recurrence_of


def runs_in(  # noqa: PLR0913 - a schedule, a range, a limit
    schedule: Schedule,
    *,
    job_id: UUID,
    anchor: datetime,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[datetime]:
    """List the first runs in [since, until), up to `limit`, as the schedule is now.

    `anchor`: a run of the job, from which an interval without `starts_at` counts both ways.
    """
    if schedule.run_at is not None:
        run = schedule.run_at.astimezone(UTC)
        return [run] if since <= run < until else []
    recurrence, start, stop = bounded(
        schedule, job_id=job_id, anchor=anchor, since=since, until=until
    )
    runs: list[datetime] = []
    while len(runs) < limit and start < stop:
        found = recurrence.first(start, stop)
        if found is None:
            break
        runs.append(found)
        start = found + TICK
    return runs


def count_in(  # noqa: PLR0913 - as runs_in
    schedule: Schedule,
    *,
    job_id: UUID,
    anchor: datetime,
    since: datetime,
    until: datetime,
    limit: int,
) -> int:
    """Count these runs, up to `limit`; the time taken does not grow with them."""
    if schedule.run_at is not None:
        return int(since <= schedule.run_at < until)
    recurrence, start, stop = bounded(
        schedule, job_id=job_id, anchor=anchor, since=since, until=until
    )
    return recurrence.count(start, stop, limit=limit) if start < stop else 0


def bounded(
    schedule: Schedule, *, job_id: UUID, anchor: datetime, since: datetime, until: datetime
) -> tuple[Interval | ZonedCron, datetime, datetime]:
    """Return the recurrence of a schedule, and the part of a range that its own bounds leave."""
    recurrence = recurrence_of(schedule, job_id, anchor=anchor)
    if isinstance(recurrence, Interval) and schedule.starts_at is None:
        phase = (recurrence.anchor - EPOCH) % recurrence.every
        recurrence = Interval(anchor=EPOCH + phase, every=recurrence.every)
    start = max(since, schedule.starts_at or since)
    stop = until if schedule.ends_at is None else min(until, schedule.ends_at + TICK)
    return recurrence, start.astimezone(UTC), stop.astimezone(UTC)
