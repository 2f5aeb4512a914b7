"""Replans a cron's run when newer time zone rules change the offsets of its zone."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.schedule.occurrences import TICK, ZonedCron
from app.core.schedule.schedule import LATEST, Schedule, begin_after, cron_in_zone, end_by
from app.core.schedule.spread import PlannedRun, spread
from app.core.schedule.zone_rules import Rules


class Planned(Struct, frozen=True, kw_only=True):
    """A planned run of a cron that no instance has claimed."""

    job_id: UUID
    schedule: Schedule
    run: PlannedRun


def replanned(plan: Planned, *, now: datetime, old: Rules, new: Rules) -> PlannedRun | None:
    """Return a cron's planned run by the new rules; None to leave the run alone.

    A run is left alone if its nominal instant has come, if that is no run by the old rules (a
    person has moved it), or if no run follows by the new rules. The next run after `now` becomes
    the next run by the new rules. A later run, which a person chose, keeps its wall time.
    """
    schedule, job_id, occurrence = plan.schedule, plan.job_id, plan.run.scheduled_for
    known = old.zone(schedule.timezone) and new.zone(schedule.timezone)
    if schedule.cron is None or occurrence <= now or not known:
        return None
    before = cron_in_zone(schedule, schedule.cron, job_id, rules=old)
    after = cron_in_zone(schedule, schedule.cron, job_id, rules=new)
    start = begin_after(schedule, now)
    if before.first(occurrence, occurrence + TICK) != occurrence:
        return None
    if before.first(start, occurrence) is not None:
        start = max(start, same_wall(before, after, occurrence))
    moved = after.first(start, end_by(schedule, LATEST))
    if moved is None:
        return None
    run = spread(schedule, moved, job_id=job_id, rules=new)
    return None if run == plan.run else run


def same_wall(before: ZonedCron, after: ZonedCron, instant: datetime) -> datetime:
    """Return the instant at which clocks by the new rules show what old ones show at `instant`."""
    wall = before.stretch_at(instant).wall(instant)
    near = after.stretch_at(instant)
    return after.stretch_at(near.instant(wall)).instant(wall)
