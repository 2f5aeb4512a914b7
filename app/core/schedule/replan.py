"""What becomes of a planned run when the rules of its time zone turn out to be others."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.schedule.occurrences import TICK, ZonedCron
from app.core.schedule.schedule import LATEST, Schedule, begin_after, cron_in_zone, end_by
from app.core.schedule.zone_rules import Rules


class Planned(Struct, frozen=True, kw_only=True):
    """A cron's run that is planned and that nobody has begun."""

    job_id: UUID
    schedule: Schedule
    next_run: datetime


def replanned(plan: Planned, *, now: datetime, old: Rules, new: Rules) -> datetime | None:
    """Return the instant that a cron's run is at by the new rules; None: leave it as it is.

    `next_run` is left alone where it is due already, where it is no run by the old rules either,
    so that a person must have moved it, and where nothing follows by the new ones. The run after
    now becomes the run after now; one further on, which a person chose, keeps its wall time.
    """
    schedule, job_id, next_run = plan.schedule, plan.job_id, plan.next_run
    known = old.zone(schedule.timezone) and new.zone(schedule.timezone)
    if schedule.cron is None or next_run <= now or not known:
        return None
    before = cron_in_zone(schedule, schedule.cron, job_id, rules=old)
    after = cron_in_zone(schedule, schedule.cron, job_id, rules=new)
    start = begin_after(schedule, now)
    if before.first(next_run, next_run + TICK) != next_run:
        return None
    if before.first(start, next_run) is not None:
        start = max(start, same_wall(before, after, next_run))
    moved = after.first(start, end_by(schedule, LATEST))
    return None if moved == next_run else moved


def same_wall(before: ZonedCron, after: ZonedCron, instant: datetime) -> datetime:
    """Return when clocks show by the new rules what they show at `instant` by the old ones."""
    wall = before.stretch_at(instant).wall(instant)
    near = after.stretch_at(instant)
    return after.stretch_at(near.instant(wall)).instant(wall)
