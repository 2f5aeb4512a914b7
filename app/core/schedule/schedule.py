"""When a job runs: checks a schedule, and finds and counts its runs.

All datetimes are aware; those returned are in UTC. The functions that compute runs expect a
schedule that `normalized` returned and `check` accepted.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.schedule.cron_parser import parse
from app.core.schedule.duration import duration_seconds
from app.core.schedule.occurrences import TICK, DstGap, DstOverlap, Interval, ZonedCron
from app.core.schedule.zone_rules import Rules
from app.core.schedule.zones import zone_named
from app.errors import FieldError, InvalidInput

__all__ = [
    "FORMS",
    "DstGap",
    "DstOverlap",
    "Schedule",
    "check",
    "check_runs",
    "count_runs",
    "first_run",
    "forms_in",
    "latest_run",
    "normalized",
    "run_after",
]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""The last instant that the database accepts, as `EARLIEST` is the first; no run is later."""
FORMS = ("run_at", "cron", "every_seconds")
"""The fields of which a schedule has exactly one."""
MIN_SECONDS = 0.1
"""The shortest interval."""
MAX_SECONDS = 5 * 365 * 86_400
"""The longest interval: five years."""
MAX_JITTER_SECONDS = 31_557_600
"""The longest span that runs are spread over: a year."""
LOOK_AHEAD = timedelta(days=5 * 365 + 2)
"""A cron without any run in the next five years is taken for a mistake."""

ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(\S*) ?(.*)")


class Schedule(Struct, frozen=True):
    """When a job runs: exactly one of `run_at`, `cron`, `every_seconds`."""

    run_at: datetime | None = None
    cron: str | None = None
    timezone: str = "UTC"
    """The IANA time zone of the cron."""
    every_seconds: float | None = None
    dst_gap: DstGap = DstGap.RUN_AFTER
    dst_overlap: DstOverlap = DstOverlap.FIRST
    starts_at: datetime | None = None
    """The earliest instant of a recurring run; an interval counts from here.

    Without it, an interval counts from its last run.
    """
    ends_at: datetime | None = None
    """The latest instant of a recurring run, included."""
    jitter_seconds: float | None = None
    """Over how many seconds the starts of a recurring job's runs are spread, see `spread`."""
    jitter_percent: float | None = None
    """The same as a percentage of the time from each run to the next."""

    @property
    def has_jitter(self) -> bool:
        """Whether its runs are spread."""
        return self.jitter_seconds is not None or self.jitter_percent is not None


def normalized(schedule: Schedule) -> Schedule:
    """Return a schedule in one form, whichever of crontab's and Go's forms it was written in.

    A prefix `CRON_TZ=Zone` or `TZ=Zone` of the cron becomes `timezone`, `@every 1h30m` becomes
    `every_seconds`, and each white space becomes one space.

    Raises:
        InvalidInput: the cron contradicts another field, or its duration cannot be read.
    """
    timezone = schedule.timezone.strip()
    if schedule.cron is None:
        return replace(schedule, timezone=timezone)
    cron = " ".join(schedule.cron.split())
    if prefix := ZONE_PREFIX.fullmatch(cron):
        zone, cron = prefix.groups()
        if timezone not in {"UTC", zone} or ZONE_PREFIX.match(cron):
            message = f"the cron names the zone {zone!r} and there is another; write one of them"
            raise InvalidInput(FieldError(field="timezone", message=message))
        timezone = zone
    if not cron.lower().startswith("@every"):
        return replace(schedule, cron=cron, timezone=timezone)
    if schedule.every_seconds is not None:
        raise InvalidInput(not_one_schedule(["cron", "every_seconds"]))
    every_seconds = duration_seconds(cron[len("@every") :].strip(), field="cron")
    return replace(schedule, cron=None, timezone=timezone, every_seconds=every_seconds)


def check(schedule: Schedule, *, job_id: UUID, now: datetime) -> datetime | None:
    """Refuse an invalid schedule, and a cron without a run in five years.

    Return the first run of a new job, as `first_run` does: the search for it is what takes time.

    Raises:
        InvalidInput: with an error for each invalid field.
    """
    errors = [
        *form_errors(schedule),
        *bound_errors(schedule),
        *jitter_errors(schedule),
        *cron_errors(schedule, job_id),
    ]
    if errors:
        raise InvalidInput(*errors)
    if schedule.cron is None:
        return first_run(schedule, job_id=job_id, now=now)
    start = begin_after(schedule, now)
    run = cron_in_zone(schedule, schedule.cron, job_id).first(start, start + LOOK_AHEAD)
    if run is None:
        message = f"{schedule.cron!r} does not occur in five years; write a date that exists"
        raise InvalidInput(FieldError(field="cron", message=message))
    return run if run < end_by(schedule, LATEST) else None


def check_runs(schedule: Schedule, first: datetime | None, *, now: datetime) -> None:
    """Refuse the schedule of a new job that has no run before its `ends_at`.

    Raises:
        InvalidInput: for `ends_at`.
    """
    if schedule.ends_at is None or first is not None:
        return
    if schedule.ends_at <= now:
        message = "has passed: the job would never run; write a later instant"
    else:
        message = "leaves no time for a run: the job would never run; write a later instant"
    raise InvalidInput(FieldError(field="ends_at", message=message))


def first_run(schedule: Schedule, *, job_id: UUID, now: datetime) -> datetime | None:
    """Return the first run of a new job; None if its schedule has none.

    A one-off keeps its instant, even one that has passed; a recurring job first runs after `now`.
    """
    if schedule.run_at is not None:
        return schedule.run_at.astimezone(UTC)
    return run_after(schedule, now, job_id=job_id)


def run_after(schedule: Schedule, after: datetime, *, job_id: UUID) -> datetime | None:
    """Find the first run later than `after`; None if there is none.

    An interval without `starts_at` counts from `after`.
    """
    if schedule.run_at is not None:
        return None
    recurrence = recurrence_of(schedule, job_id, anchor=after)
    return recurrence.first(begin_after(schedule, after), end_by(schedule, LATEST))


def latest_run(
    schedule: Schedule, *, job_id: UUID, after: datetime, until: datetime
) -> datetime | None:
    """Find the last run in [after, until]; None if `until` or the schedule's end is before `after`.

    `after` is itself a run, and is returned if no run follows. The time taken does not grow with
    the number of runs.
    """
    stop = end_by(schedule, until)
    if after >= stop:
        return None
    if schedule.run_at is not None:
        return after.astimezone(UTC)
    recurrence = recurrence_of(schedule, job_id, anchor=after)
    return recurrence.last(begin_after(schedule, after), stop) or after.astimezone(UTC)


def count_runs(
    schedule: Schedule, *, job_id: UUID, first: datetime, until: datetime, limit: int
) -> int:
    """Count the runs in [first, until], up to `limit`; `first` is itself a run."""
    stop = end_by(schedule, until)
    if first >= stop:
        return 0
    if schedule.run_at is not None:
        return min(1, limit)
    recurrence = recurrence_of(schedule, job_id, anchor=first)
    return min(1 + recurrence.count(begin_after(schedule, first), stop, limit=limit), limit)


def begin_after(schedule: Schedule, instant: datetime) -> datetime:
    """Return the first instant later than `instant` at which the schedule allows a run."""
    later = instant + TICK
    return max(later, schedule.starts_at or later).astimezone(UTC)


def end_by(schedule: Schedule, instant: datetime) -> datetime:
    """Return the first instant later than `instant` or than the schedule's end."""
    return min(instant, schedule.ends_at or LATEST).astimezone(UTC) + TICK


def recurrence_of(
    schedule: Schedule, job_id: UUID, *, anchor: datetime, rules: Rules | None = None
) -> Interval | ZonedCron:
    """Return the runs of a recurring schedule; an interval counts from `starts_at` or `anchor`."""
    if schedule.cron is not None:
        return cron_in_zone(schedule, schedule.cron, job_id, rules=rules)
    if schedule.every_seconds is None:
        raise InvalidInput(not_one_schedule([]))
    return Interval(
        anchor=(schedule.starts_at or anchor).astimezone(UTC),
        every=timedelta(seconds=schedule.every_seconds),
    )


def cron_in_zone(
    schedule: Schedule, cron: str, job_id: UUID, *, rules: Rules | None = None
) -> ZonedCron:
    """Return the runs of a cron, with the time zone and the clock-change rules of its schedule."""
    return ZonedCron(
        cron=parse(cron, job_id=job_id),
        timezone=schedule.timezone,
        gap=schedule.dst_gap,
        overlap=schedule.dst_overlap,
        rules=rules,
    )


def forms_in(given: object) -> list[str]:
    """Name those of `FORMS` that an object has a value for."""
    return [name for name in FORMS if getattr(given, name) is not None]


def form_errors(schedule: Schedule) -> Iterator[FieldError]:
    """Check that there is exactly one schedule, and the range of its interval."""
    given = forms_in(schedule)
    if len(given) != 1:
        yield not_one_schedule(given)
    every = schedule.every_seconds
    if every is not None and not MIN_SECONDS <= every <= MAX_SECONDS:
        bounds = f"{MIN_SECONDS} to {MAX_SECONDS} (five years)"
        yield FieldError(field="every_seconds", message=f"{every} is out of range; write {bounds}")


def not_one_schedule(given: list[str]) -> FieldError:
    """Word the refusal of a job without a schedule, or with several; the field is the last.

    Without any the field is `run_at`, as it is in SQL.
    """
    has = f"{' and '.join(given)} are given" if given else "there is no schedule"
    others = ", and null for the others" if given else ""
    message = f"{has}; write exactly one of {', '.join(FORMS)}{others}"
    return FieldError(field=given[-1] if given else "run_at", message=message)


def bound_errors(schedule: Schedule) -> Iterator[FieldError]:
    """Check each instant, and then the order of `starts_at` and `ends_at`."""
    sound = True
    for name in ("run_at", "starts_at", "ends_at"):
        error = instant_error(getattr(schedule, name))
        if error is not None:
            sound = False
            yield FieldError(field=name, message=error)
    starts_at, ends_at = schedule.starts_at, schedule.ends_at
    if sound and starts_at is not None and ends_at is not None and starts_at >= ends_at:
        yield FieldError(field="ends_at", message="is not later than starts_at; write a later one")


def instant_error(instant: datetime | None) -> str | None:
    """Say why an instant is invalid; None if it is valid."""
    if instant is None:
        return None
    if instant.utcoffset() is None:
        return "has no offset from UTC; end it with Z or an offset such as +02:00"
    if not EARLIEST <= instant <= LATEST:
        return f"is out of range; write an instant from {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}"
    return None


def jitter_errors(schedule: Schedule) -> Iterator[FieldError]:
    """Check the range of the jitter, and that it has one form and runs to spread."""
    for name, most in (("jitter_seconds", MAX_JITTER_SECONDS), ("jitter_percent", 100)):
        value = getattr(schedule, name)
        if value is None:
            continue
        if not 0 <= value <= most:
            message = f"{value} is out of range; write 0 to {most}, or null for none"
            yield FieldError(field=name, message=message)
        elif schedule.run_at is not None:
            message = "is for recurring jobs; write the instant that you want into run_at"
            yield FieldError(field=name, message=message)
        elif name == "jitter_percent" and schedule.jitter_seconds is not None:
            message = "is given beside jitter_seconds; leave one of them out, or null"
            yield FieldError(field=name, message=message)


def cron_errors(schedule: Schedule, job_id: UUID) -> Iterator[FieldError]:
    """Check the time zone and the text of the cron, each by itself."""
    try:
        zone_named(schedule.timezone)
    except InvalidInput as refusal:
        yield from refusal.errors
    try:
        if schedule.cron is not None:
            parse(schedule.cron, job_id=job_id)
    except InvalidInput as refusal:
        yield from refusal.errors
