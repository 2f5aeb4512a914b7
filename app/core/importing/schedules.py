"""Schedules that are imported, judged as those of jobs are."""

from app.core.importing.programs import NotACall
from app.core.jobs.identity import NIL
from app.core.schedule.cron_parser import parse
from app.core.schedule.schedule import Schedule, form_errors, normalized
from app.core.schedule.zones import zone_named
from app.errors import AppError, InvalidInput


def check_schedule(
    *, cron: str | None = None, every_seconds: float | None = None, timezone: str | None = None
) -> None:
    """Refuse a schedule that no job can have.

    Raises:
        NotACall: its cron cannot be read, its interval is too short or long, or there is no such
            zone.
    """
    if error := refusal(
        Schedule(cron=cron, every_seconds=every_seconds, timezone=timezone or "UTC")
    ):
        message = f"has a schedule that no job can have: {error}"
        raise NotACall(message)


def refusal(given: Schedule) -> AppError | None:
    """Return why no job can have a schedule; None if one can."""
    try:
        schedule = normalized(given)
        zone_named(schedule.timezone)
        if schedule.cron is not None:
            parse(schedule.cron, job_id=NIL)
    except InvalidInput as error:
        return error
    errors = list(form_errors(schedule))
    return InvalidInput(*errors) if errors else None
