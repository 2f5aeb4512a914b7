"""How instants, durations, counts and outcomes read on pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from app.core.access.key_limits import in_words
from app.core.jobs.job import SCHEDULE_FIELDS, StoredJob
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import Schedule
from app.core.schedule.words import describe
from app.core.schedule.zones import zone_named
from app.db.pages import ListedJob
from app.errors import InvalidInput
from app.wire.keys import ApiKey, limits_of

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1, "s"))
MAX_COUNTED = 10_000
"""Counts of pages stop here; see `app.db.instances.MAX_COUNTED`."""
OUTCOMES = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "timed out",
    Outcome.CANCELLED: "cancelled",
    Outcome.LOST: "lost",
    Outcome.MISSED: "missed",
}

FORMS = {"hour": "%H:%M", "day": "%a %H:%M", "second": "%H:%M:%S"}

DONE = {
    "created": "It is created",
    "saved": "It is saved",
    "same": "Nothing was changed",
    "run": "It is due now",
    "replayed": "That run is due again now",
    "skipped": "The next run is skipped",
    "unskipped": "No run is skipped any more",
    "paused": "It is paused",
    "resumed": "It is resumed",
    "cancelled": "The execution is cut off",
    "deleted": "The job is deleted",
}
"""What pages say after something was done, by the word in their address."""


def instant(at: datetime | None) -> Markup:
    """Show an instant in UTC; a script shows it in the viewer's zone."""
    if at is None:
        return Markup('<span class="none">never</span>')
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        utc.isoformat().replace("+00:00", "Z"),
        utc.strftime("%A %Y-%m-%d %H:%M:%S.%f")[:-3],
        utc.strftime("%Y-%m-%d %H:%M:%S"),
    )


def short(at: datetime, form: str) -> Markup:
    """Label an instant by one of `FORMS`: `hour` is the time of day, `day` has the weekday too."""
    utc = at.astimezone(UTC)
    text = utc.strftime(FORMS[form])
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(
        utc.isoformat().replace("+00:00", "Z"), form, text
    )


def utc_time(at: datetime) -> str:
    """Show the time of day of an instant in UTC."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def in_query(at: datetime) -> str:
    """Write an instant for an address, in UTC, without what it has no need of."""
    text = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="auto")
    return f"{text.removesuffix(':00')}Z"


def from_now(at: datetime, now: datetime) -> str:
    """Say how far an instant lies ahead or back, in whole seconds, and in minutes beyond one."""
    seconds = round((at - now).total_seconds())
    if abs(seconds) >= MINUTE:
        seconds -= seconds % MINUTE if seconds > 0 else -(-seconds % MINUTE)
    if not seconds:
        return "now"
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def duration(seconds: float | None) -> str:
    """Word a duration with two or three digits that count."""
    if seconds is None:
        return "–"  # noqa: RUF001 - a dash for what there is not
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < MINUTE:
        is_short = seconds < 0.9995  # noqa: PLR2004 - what rounds to 1,000 ms reads 1.00 s
        return f"{seconds * 1000:.3g} ms" if is_short else f"{seconds:.3g} s"
    whole = round(seconds)
    index = next(index for index, (size, _) in enumerate(UNITS) if whole >= size)
    (size, unit), (smaller, lesser) = UNITS[index : index + 2]
    count, rest = divmod(whole, size)
    more = rest // smaller if count < 10 else 0  # noqa: PLR2004 - two units while that says more
    return f"{count} {unit} {more} {lesser}" if more else f"{count} {unit}"


def number(count: int) -> str:
    """Write a count with its thousands apart."""
    return f"{count:,}"


def at_most(count: int) -> str:
    """Write a count that stops at `MAX_COUNTED`."""
    return f"{count:,}" if count < MAX_COUNTED else f"{MAX_COUNTED:,}+"


def outcome(word: str | None) -> str:
    """Word an outcome; None: nothing ended yet."""
    return OUTCOMES[Outcome(word)] if word else "not yet"


def schedule(job: StoredJob | ListedJob) -> str:
    """Say when a job runs."""
    return describe(
        Schedule(**{name: getattr(job, name) for name in SCHEDULE_FIELDS}), job_id=job.id
    )


def own_time(job: StoredJob | ListedJob) -> str:
    """Say what clocks of a job's own zone show at its next run; nothing where these are UTC's."""
    if job.next_run is None or job.timezone == "UTC":
        return ""
    try:
        return f"{job.next_run.astimezone(zone_named(job.timezone)):%a %H:%M} {job.timezone}"
    except InvalidInput:
        return ""  # its schedule says what is wrong


def tag_search(tag: str) -> str:
    """Write the search for the jobs that have a tag."""
    return f'tag:"{tag}"' if " " in tag else f"tag:{tag}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def limits(key: ApiKey) -> list[str]:
    """Say what the limits of an API key are, each in a few words."""
    return in_words(limits_of(key))


FILTERS: dict[str, Callable[..., Any]] = {
    "instant": instant,
    "short": short,
    "in_query": in_query,
    "utc_time": utc_time,
    "from_now": from_now,
    "duration": duration,
    "number": number,
    "at_most": at_most,
    "outcome": outcome,
    "plural": plural,
    "tag_search": tag_search,
    "schedule": schedule,
    "own_time": own_time,
    "limits": limits,
}
"""The filters of templates, by their names."""
