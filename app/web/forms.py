"""Reads what people send with forms: fields, instants by the clocks of a zone, refusals."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from litestar.exceptions import ClientException
from litestar.response import Redirect

from app.api.problems import ApiRequest
from app.core.schedule.zones import zone_named
from app.errors import FieldError, InvalidInput
from app.wire.reading import read

T = TypeVar("T")


class Form(dict[str, str]):
    """The fields of a form by name; what was not sent is empty."""

    def __missing__(self, name: str) -> str:
        return ""


SPANS = {
    "3600": "for one hour",
    "14400": "for four hours",
    "86400": "for a day",
    "604800": "for a week",
}
"""How long something may last, by its seconds."""


async def read_form(request: ApiRequest) -> Form:
    """Return the fields of a form as it was sent, without white space around their texts.

    Raises:
        ClientException: it is no form.
    """
    try:
        sent = await request.form()
    except ValueError as error:
        raise ClientException(detail="the body is not that of a form") from error
    return Form({name: one.strip() for name, one in sent.items() if isinstance(one, str)})


def typed(given: Mapping[str, object], type_: type[T]) -> T:
    """Make what the API reads from a body of the fields of a form, by the rules of the API.

    Raises:
        InvalidInput: naming each field that is wrong.
    """
    return read(msgspec.json.encode(given), type_)


def instant_in(text: str, zone: str, *, field: str) -> datetime:
    """Return the instant at which clocks of a zone show what was chosen in a field.

    Raises:
        InvalidInput: there is no such date, or no such zone.
    """
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text[:40]!r} is no date and time: write one such as 2030-01-31T08:30"
        raise InvalidInput(FieldError(field=field, message=message)) from None
    clocks = local.tzinfo or zone_named(zone)
    try:
        return local.replace(tzinfo=clocks).astimezone(UTC)
    except OverflowError:
        message = "is out of range: write a year from 2000 to 2199"
        raise InvalidInput(FieldError(field=field, message=message)) from None


def until_of(form: Form, *, now: datetime) -> datetime | None:
    """Return the end that a form has: after one of `SPANS`, at an instant, or none.

    Raises:
        InvalidInput: it is none of these.
    """
    lasts = form["lasts"]
    if lasts in SPANS:
        return now + timedelta(seconds=int(lasts))
    if lasts != "until":
        return None
    if not form["until"]:
        message = "is empty: choose a date and a time, or how long it lasts"
        raise InvalidInput(FieldError(field="until", message=message))
    return instant_in(form["until"], form["zone"] or "UTC", field="until")


def by_field(error: InvalidInput | None) -> Form:
    """Return what is wrong by the name of the field, as sentences."""
    told = error.errors if error else ()
    return Form({one.field: f"{one.message[:1].upper()}{one.message[1:]}" for one in told})


def came_from(request: ApiRequest) -> str:
    """Return the address of the page of ours that a form was on; that of the first page if none."""
    parts = urlsplit(request.headers.get("Referer", ""))
    if parts.netloc != request.headers.get("Host", "") or not parts.path.startswith("/"):
        return "/"
    path = parts.path.removeprefix(request.app.state.root_path)
    return (path or "/") + (f"?{parts.query}" if parts.query else "")


def see(address: str) -> Redirect:
    """Have the browser show a page after it sent a form, so that a reload sends nothing again."""
    return Redirect(address, status_code=303)
