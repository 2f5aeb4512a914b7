"""The template engine: what templates can use, and how values are written.

Imported by the process that renders and where templates are checked, never by an instance.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import StrictUndefined, Undefined
from jinja2.filters import do_urlencode
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from app.core.schedule.zones import zone_named
from app.errors import InvalidInput

URL_FIELDS = ("url",)
"""Fields in which values are percent-encoded."""
HTML_FIELDS = ("html",)
"""Fields in which values are escaped for HTML."""

VARIABLES: Mapping[str, frozenset[str]] = {
    "run": frozenset({"scheduled_for", "previous", "next", "key", "trigger"}),
    "job": frozenset(
        {
            *("id", "name", "tags", "metadata"),
            *("last_outcome", "last_finished_at", "consecutive_failures", "runs"),
        }
    ),
    "attempt": frozenset(),
}
"""The variables that templates can refer to, each with its parts."""


class Instant(datetime):
    """An instant that is written as in RFC 3339, and as in the API where it is in UTC."""

    def __str__(self) -> str:
        text = self.isoformat()
        return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text


def in_zone(instant: datetime, timezone: str) -> datetime:
    """Return an instant as the clocks of an IANA zone show it."""
    try:
        return as_instant(instant).astimezone(zone_named(timezone))
    except InvalidInput as refusal:
        raise ValueError(refusal.errors[0].message) from None


def strftime(instant: datetime, form: str, timezone: str = "UTC") -> str:
    """Format an instant in an IANA zone, as Python's `strftime` does."""
    return in_zone(instant, timezone).strftime(form)


def as_instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    kind = "nothing" if value is None else f"a {type(value).__name__}"
    raise TypeError(f"an instant is wanted here, and this is {kind}")


def to_json(value: object, indent: int | None = None) -> str:
    """Write a value as JSON; instants become texts."""

    def written(item: object) -> str:
        if isinstance(item, Undefined):
            return str(item)  # raises
        return str(item)

    return json.dumps(value, ensure_ascii=False, indent=indent, default=written, allow_nan=False)


def nothing_for_none(value: object) -> object:
    return "" if value is None else value


def encoded(value: object) -> object:
    """Percent-encode a value for a URL, unless a filter such as `safe` has said that it is fit."""
    if value is None:
        return ""
    if isinstance(value, Undefined | Markup):
        return value
    return quote(str(value), safe="")


def urlencode(value: Any) -> Markup:  # noqa: ANN401 - text, mapping or pairs, as Jinja has it
    return Markup(do_urlencode(value))  # noqa: S704 - for URLs


@cache
def environment(top: str) -> ImmutableSandboxedEnvironment:
    """Return the engine for the templates in one field of targets."""
    made = ImmutableSandboxedEnvironment(
        autoescape=top in HTML_FIELDS,
        undefined=StrictUndefined,
        finalize=encoded if top in URL_FIELDS else nothing_for_none,
        keep_trailing_newline=True,
        cache_size=0,
    )
    del made.globals["lipsum"]
    made.filters |= {"in_zone": in_zone, "strftime": strftime, "tojson": to_json}
    if top in URL_FIELDS:
        made.filters["urlencode"] = urlencode
    return made
