"""Whether a schedule has runs in the time that the calendars of a job leave open."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.schedule.occurrences import TICK, Span
from app.core.schedule.schedule import LATEST, Schedule, begin_after, end_by, recurrence_of
from app.errors import FieldError, InvalidInput

NEVER_OPEN = (
    "leave no run of the schedule: none falls into their time in the next five years; change the "
    "schedule, take one of them out, or write on_closed next_open"
)


def first_open(
    schedule: Schedule, first: datetime, spans: Sequence[Span], *, job_id: UUID
) -> datetime | None:
    """Return the first run from `first`, itself a run, on that falls into the spans.

    The spans are in order, as far ahead as is known. None if there is none.
    """
    if schedule.run_at is not None:
        return first if any(span.start <= first < span.end for span in spans) else None
    recurrence = recurrence_of(schedule, job_id, anchor=first)
    stop = end_by(schedule, LATEST)
    begin = begin_after(schedule, first - TICK)
    for span in spans:
        found = recurrence.first(max(begin, span.start), min(stop, span.end))
        if found is not None:
            return found
    return None


def check_open(schedule: Schedule, first: datetime, spans: Sequence[Span], *, job_id: UUID) -> None:
    """Refuse calendars that close every run of a schedule from `first` on.

    Raises:
        InvalidInput: for `calendars`.
    """
    if first_open(schedule, first, spans, job_id=job_id) is None:
        raise InvalidInput(FieldError(field="calendars", message=NEVER_OPEN))
