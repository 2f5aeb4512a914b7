"""Describes a schedule in English, for people who look at a job or try out a cron."""

from datetime import UTC, datetime
from uuid import UUID

from app.core.schedule.cron_parser import USES_HASH, parse
from app.core.schedule.cron_words import cron_in_words
from app.core.schedule.schedule import Schedule
from app.errors import InvalidInput

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def describe(schedule: Schedule, *, job_id: UUID) -> str:
    """Say in one English sentence when a job runs; never fails.

    `job_id` chooses the values of `H`. A cron outside the dialect is shown as it is written.
    """
    if schedule.run_at is not None:
        return f"Once, at {moment(schedule.run_at)}"
    if schedule.cron is not None:
        words = f"{cron_words(schedule.cron, job_id)}, in {schedule.timezone}"
    elif schedule.every_seconds is not None:
        words = interval_words(schedule.every_seconds)
    else:
        return "Never"
    if schedule.starts_at is not None:
        words += f", from {moment(schedule.starts_at)}"
    if schedule.ends_at is not None:
        words += f", until {moment(schedule.ends_at)}"
    return words


def interval_words(seconds: float) -> str:
    """Word an interval in the largest unit of which the interval is a multiple."""
    for size, unit in UNITS:
        if seconds == size:
            return f"Every {unit}"
        if seconds % size == 0:
            return f"Every {int(seconds // size)} {unit}s"
    return f"Every {seconds} seconds"


def moment(instant: datetime) -> str:
    """Word an instant, without seconds if they are zero."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    detail = "minutes" if utc.second == utc.microsecond == 0 else "auto"
    return f"{utc.isoformat(' ', detail)} UTC"


def cron_words(text: str, job_id: UUID) -> str:
    """Word a cron with the values that `H` has for a job, or return it as written."""
    try:
        words = cron_in_words(parse(text, job_id=job_id))
    except InvalidInput:
        return f"Cron {text}"
    return f"{words} (H differs from job to job)" if USES_HASH.search(text) else words
