"""Turns forms into jobs and jobs into forms; whatever was not touched stays as it is stored."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import fields

from app.core.jobs.exact_json import same
from app.core.jobs.job import DOCUMENT_FIELDS, JobDocument, StoredJob, document_of
from app.core.schedule.zones import zone_named
from app.errors import FieldError, InvalidInput
from app.jobs.shown import masked_job
from app.web.forms import Form, instant_in
from app.web.job_fields import (
    HOW,
    LAX,
    READER,
    WHEN,
    Document,
    FormField,
    fields_of_job,
    fields_of_target,
)
from app.wire.reading import read

OWN = ("name", "description", "tags")
UNITS = {"1": "seconds", "60": "minutes", "3600": "hours", "86400": "days"}
"""The units of an interval, by their seconds."""
PRESETS = {
    "*/5 * * * *": "every five minutes",
    "0 * * * *": "every hour",
    "H * * * *": "every hour, at a minute of its own",
    "0 3 * * *": "every night at three",
    "0 9 * * 1-5": "on weekdays at nine",
    "0 8 * * 1": "on Mondays at eight",
    "0 0 1 * *": "on the first of each month",
    "0 18 L * *": "on the last day of each month at six",
}
"""Crons to begin with."""
ZONES = (
    *("UTC", "America/Los_Angeles", "America/Denver", "America/Chicago", "America/New_York"),
    *("America/Sao_Paulo", "Europe/London", "Europe/Paris", "Europe/Berlin", "Europe/Athens"),
    *("Africa/Johannesburg", "Asia/Dubai", "Asia/Kolkata", "Asia/Shanghai", "Asia/Singapore"),
    *("Asia/Tokyo", "Australia/Sydney", "Pacific/Auckland"),
)
"""Zones that are suggested; each other one can be typed."""
SHORT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", re.ASCII)
DEFAULTS = {one.name: one.default for one in fields(JobDocument)}


def compact(job: Struct) -> Document:
    """Return what differs from the defaults of a job, and its kind and target."""
    return {
        name: Raw(msgspec.json.encode(value))
        for name in DOCUMENT_FIELDS
        if (value := getattr(job, name)) is not UNSET
        and name != "paused"
        and (name in ("kind", "target") or not is_default(name, value))
    }


def is_default(name: str, value: object) -> bool:
    default = DEFAULTS[name]
    if name == "metadata":
        default = {}
    return bool(same(msgspec.to_builtins(value), msgspec.to_builtins(default)))


def stored_document(job: StoredJob) -> Document:
    """Return a stored job as people may write it, its secrets as `***`."""
    return compact(masked_job(job))


def as_json(document: Document) -> str:
    """Write a job out as JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def document_in(text: str) -> Document:
    """Read JSON that was written out, or typed, field by field.

    Raises:
        InvalidInput: it is no JSON object.
    """
    try:
        return READER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"is no JSON object: {str(error)[:200]}"
        raise InvalidInput(FieldError(field="json", message=message)) from None


def typed_job(document: Document) -> JobDocument:
    """Read a job by the rules of the API, as a deployment would send it with PUT.

    Raises:
        InvalidInput: naming each field that is wrong.
    """
    given = {name: value for name, value in document.items() if name != "paused"}
    return document_of(read(msgspec.json.encode(given), JobDocument))


def target_in(document: Document) -> Document:
    """Return the fields of the target; none if it is no object."""
    try:
        return READER.decode(document.get("target", Raw(b"{}")))
    except msgspec.DecodeError:
        return {}


def word(document: Document, name: str) -> Any:  # noqa: ANN401 - any JSON
    return LAX.decode(document[name]) if name in document else None


def fields_for(kind: str) -> Iterator[FormField]:
    """List the fields of a form that hold one value each."""
    yield from fields_of_job((*OWN, *WHEN, *HOW))
    for some in fields_of_target(kind):
        yield from some


def form_of_job(document: Document) -> Form:
    """Fill a form in with a job."""
    kind = str(word(document, "kind") or "http")
    target = {f"target.{name}": value for name, value in target_in(document).items()}
    values: Mapping[str, Raw] = document | target
    form = Form(kind=kind, timezone=str(word(document, "timezone") or "UTC"))
    for one in fields_for(kind):
        value = values.get(one.name)
        if value is None and one.default is not None and one.widget in ("flag", "choice"):
            value = Raw(msgspec.json.encode(one.default))
        form[one.name] = one.text(value)
    form["cron"] = str(word(document, "cron") or "")
    form["how"] = "cron"
    if (given := word(document, "every_seconds")) is not None:
        form["how"] = "every"
        form["every"], form["unit"] = count_and_unit(given)
    if (at := word(document, "run_at")) is not None:
        form["how"], form["at"] = "once", wall_text(str(at), form["timezone"])
    return form


def count_and_unit(given: object) -> tuple[str, str]:
    """Write seconds out by the largest unit of which they are whole; what is no number as it is."""
    try:
        seconds = float(str(given))
    except ValueError:
        return str(given), "1"
    if not isfinite(seconds):
        return str(given), "1"
    unit = next((one for one in ("86400", "3600", "60") if seconds % int(one) == 0), "1")
    return f"{seconds / int(unit):.15g}", unit


def wall_text(at: str, timezone: str) -> str:
    """Write an instant as clocks of a zone show it; as it stands if there is no such zone."""
    try:
        instant = datetime.fromisoformat(at).astimezone(UTC)
        wall = instant.astimezone(zone_named(timezone))
    except (ValueError, OverflowError, InvalidInput):
        return at
    return wall.replace(tzinfo=None).isoformat()


def document_of_form(form: Form, original: Document) -> tuple[Document, list[FieldError]]:
    """Make a job of a form; return also what is wrong with single fields.

    Where a text stands as `original` is written out, the original is kept to its last digit.
    """
    kind = form["kind"]
    before = form_of_job(original) if original else Form()
    olds: Mapping[str, Raw] = original | {
        f"target.{name}": value for name, value in target_in(original).items()
    }
    document: Document = {"kind": Raw(msgspec.json.encode(kind))}
    target: Document = {}
    errors: list[FieldError] = []
    for one in fields_for(kind):
        text = plain(form[one.name])
        try:
            is_kept = bool(original) and text == plain(before[one.name])
            value = olds.get(one.name) if is_kept else one.value(text)
        except InvalidInput as error:
            errors += error.errors
            continue
        if value is not None:
            within, _, name = one.name.rpartition("target.")
            (target if within or one.name.startswith("target.") else document)[name] = value
    document["target"] = Raw(msgspec.json.encode(target))
    errors += schedule_of_form(form, before, original, document)
    return document, errors


def plain(text: str) -> str:
    """Return a text as forms send it and as it was stored, made equal."""
    return text.replace("\r\n", "\n").strip()


def wall(text: str) -> str:
    """Return a date and time in the one of its forms that has seconds; other texts as they are.

    Browsers leave out seconds that are zero.
    """
    return f"{text}:00" if SHORT.fullmatch(text) else text


def schedule_of_form(
    form: Form, before: Form, original: Document, document: Document
) -> list[FieldError]:
    """Write the schedule of a form into a job, and return what is wrong with it."""
    if form["timezone"] and form["timezone"] != "UTC":
        document["timezone"] = Raw(msgspec.json.encode(form["timezone"]))
    names = {"cron": ("cron",), "every": ("every", "unit"), "once": ("at", "timezone")}
    field = {"cron": "cron", "every": "every_seconds", "once": "run_at"}.get(form["how"], "cron")
    seen = names.get(form["how"], ("cron",))
    if field in original and all(wall(form[name]) == wall(before[name]) for name in seen):
        document[field] = original[field]
        return []
    try:
        document[field] = Raw(msgspec.json.encode(chosen(form, field)))
    except InvalidInput as error:
        return list(error.errors)
    return []


def chosen(form: Form, field: str) -> object:
    """Return the value of the field of a schedule that was chosen.

    Raises:
        InvalidInput: it is empty, or cannot be read.
    """
    match field:
        case "every_seconds":
            message = "is no number: write one such as 15, and choose a unit"
            try:
                seconds = float(form["every"]) * int(form["unit"] if form["unit"] in UNITS else "1")
            except ValueError:
                seconds = inf
            if isfinite(seconds):
                return seconds
        case "run_at" if form["at"]:
            return instant_in(form["at"], form["timezone"] or "UTC", field="run_at")
        case "run_at":
            message = "is empty: choose a date and a time"
        case _ if form["cron"]:
            return form["cron"]
        case _:
            message = "is empty: write one such as 0 3 * * *, or choose another way"
    raise InvalidInput(FieldError(field=field, message=message))
