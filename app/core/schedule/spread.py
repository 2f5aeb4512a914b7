"""Spreads runs that fall on the same instant: each starts some time after its instant.

A run belongs to its *nominal* instant, which the schedule has: runs follow one another, are limited
and recorded by it. It starts at its *effective* instant, which differs from job to job.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from msgspec import Struct

from app.core.jobs.identity import EPOCH
from app.core.schedule.occurrences import TICK, Interval, ZonedCron
from app.core.schedule.schedule import EARLIEST, LATEST, Schedule, latest_run, recurrence_of
from app.core.schedule.zone_rules import Rules

SHARE_BITS = 64
"""How many bits of a hash decide where in its span a run starts."""


class PlannedRun(Struct, frozen=True, kw_only=True):
    """A run as a job has it planned: `next_run` is its effective instant."""

    scheduled_for: datetime
    next_run: datetime


def spread(
    schedule: Schedule, occurrence: datetime, *, job_id: UUID, rules: Rules | None = None
) -> PlannedRun:
    """Plan the run of a nominal instant, a run of the schedule."""
    return PlannedRun(
        scheduled_for=occurrence,
        next_run=effective(schedule, occurrence, job_id=job_id, rules=rules),
    )


def effective(
    schedule: Schedule, occurrence: datetime, *, job_id: UUID, rules: Rules | None = None
) -> datetime:
    """Return when the run of a nominal instant starts, for a schedule without jitter at once.

    Never before the nominal instant, and before the one that follows, were there no `ends_at`. By
    the same job, schedule and instant the result is the same in every process. `rules` are those of
    time zones; None stands for the ones in use.
    """
    if not schedule.has_jitter:
        return occurrence
    recurrence = recurrence_of(schedule, job_id, anchor=occurrence, rules=rules)
    return effective_in(recurrence, schedule, occurrence, job_id=job_id)


def effective_in(
    recurrence: Interval | ZonedCron, schedule: Schedule, occurrence: datetime, *, job_id: UUID
) -> datetime:
    """Return what `effective` does, given the runs of the schedule."""
    following = recurrence.first(occurrence + TICK, LATEST + TICK)
    span = span_of(schedule, (following or LATEST) - occurrence, is_last=following is None)
    return occurrence + TICK * (span // TICK * share(job_id, occurrence) >> SHARE_BITS)


def span_of(schedule: Schedule, gap: timedelta, *, is_last: bool) -> timedelta:
    """Return over how much time a run is spread that another one follows after `gap`.

    A run that none follows has no interval to take a percentage of.
    """
    if schedule.jitter_percent is not None:
        return timedelta() if is_last else min(gap * (schedule.jitter_percent / 100), gap)
    return max(min(timedelta(seconds=schedule.jitter_seconds or 0.0), gap), timedelta())


def share(job_id: UUID, occurrence: datetime) -> int:
    """Hash a job and a nominal instant into [0, 2**64): which share of its span the run waits.

    The first bytes of the SHA-256 of `<job id>:<microseconds since 1970>`, which no version of
    Python, process or machine has otherwise.
    """
    text = f"{job_id}:{(occurrence - EPOCH) // TICK}"
    return int.from_bytes(sha256(text.encode()).digest()[: SHARE_BITS // 8], "big")


def last_started(
    schedule: Schedule, *, job_id: UUID, after: datetime, until: datetime
) -> datetime | None:
    """Find the last run from `after` on, itself a run, that has started by `until`.

    As `latest_run` does, but by effective instants; the result is a nominal one.
    """
    last = latest_run(schedule, job_id=job_id, after=after, until=until)
    if last is None or last <= after or effective(schedule, last, job_id=job_id) <= until:
        return last
    # Of spread runs only the last one can have its nominal instant before and start later.
    return latest_run(schedule, job_id=job_id, after=after, until=last - TICK)


class Spread(Struct, frozen=True, kw_only=True):
    """The effective instants of one job's runs, for the questions that its recurrence answers.

    The order of runs is that of their nominal instants, as each starts before the next one's.
    """

    recurrence: Interval | ZonedCron
    schedule: Schedule
    job_id: UUID
    end: datetime
    """The first nominal instant that is too late for a run."""

    def effective(self, occurrence: datetime) -> datetime:
        """Return when the run of a nominal instant starts."""
        return effective_in(self.recurrence, self.schedule, occurrence, job_id=self.job_id)

    def nominal(self, at: datetime) -> datetime:
        """Return the nominal instant of the run that starts at `at`."""
        return self.last(at + TICK) or at

    def first(self, start: datetime, stop: datetime) -> datetime | None:
        """Find the earliest effective instant in [start, stop)."""
        before = self.last(start)
        if before is not None and (at := self.effective(before)) >= start:
            return at if at < stop else None
        occurrence = self.recurrence.first(start, min(stop, self.end))
        if occurrence is None or (at := self.effective(occurrence)) >= stop:
            return None
        return at

    def count(self, start: datetime, stop: datetime, *, limit: int) -> int:
        """Count the effective instants in [start, stop), up to `limit`."""
        if start >= stop:
            return 0
        begin, end = min(start, self.end), min(stop, self.end)
        nominal = self.recurrence.count(begin, end, limit=limit + 1) if begin < end else 0
        return max(min(nominal + self.waiting(start) - self.waiting(stop), limit), 0)

    def waiting(self, at: datetime) -> int:
        """Return 1 if the last run whose nominal instant is before `at` has yet to start then."""
        before = self.last(at)
        return int(before is not None and self.effective(before) >= at)

    def last(self, at: datetime) -> datetime | None:
        """Find the last nominal instant before `at`."""
        return self.recurrence.last(EARLIEST, min(at, self.end))
