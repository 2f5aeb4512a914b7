"""The fields of forms for jobs, out of the types that the API checks."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec import inspect as types

from app.core.field_paths import joined
from app.core.jobs.exact_json import DECODER, same
from app.core.jobs.job import JobDocument
from app.errors import FieldError, InvalidInput
from app.targets.registry import target_type

Document = dict[str, Raw]
"""A job, or a target, field by field as JSON text, so that no digit and no order is lost."""
READER = msgspec.json.Decoder(Document)
LAX = msgspec.json.Decoder(float_hook=str)
"""Decodes what a person wrote in SQL, where numbers are of any size."""
LONG_TEXTS = frozenset(
    {"body", "text", "html", "description", "client_certificate", "client_key", "ca"}
)
"""Texts of several lines."""
SEEN_AT_ONCE = (
    *("url", "method", "json", "body", "headers", "auth", "exchange", "routing_key"),
    *("from", "to", "subject", "text", "grace_seconds"),
)
"""The fields of targets that are seen at once, in their order; the others are behind a summary."""
LABELS = {"url": "URL", "json": "JSON", "html": "HTML", "ca": "CA", "verify_tls": "Verify TLS"}
EXAMPLES = {
    "target.headers": '{"X-Team": "billing"}',
    "target.auth": '{"type": "bearer", "token": "${secret:NAME}"}',
    "target.json": '{"report": "daily"}',
    "metadata": '{"owner": "finance"}',
    "starts_at": "2030-01-31T08:30:00Z",
    "ends_at": "2030-12-31T00:00:00Z",
}
"""What stands in fields that are empty, for those who wonder about the form."""
WHEN = (
    *("starts_at", "ends_at", "max_runs", "jitter_seconds", "jitter_percent", "calendars"),
    *("on_closed", "min_gap_seconds", "dst_gap", "dst_overlap"),
)
HOW = (
    *("timeout_seconds", "max_attempts", "backoff_seconds", "backoff_max_seconds"),
    *("misfire", "misfire_grace_seconds", "max_catchup", "overlap", "flow_key", "priority"),
    "metadata",
)


class Widget(StrEnum):
    """What a field is filled in with."""

    TEXT = "text"
    LONG = "long"
    NUMBER = "number"
    CHOICE = "choice"
    FLAG = "flag"
    WORDS = "words"
    """Texts separated by commas."""
    JSON = "json"


class FormField(Struct, frozen=True, kw_only=True):
    """One field of a form."""

    name: str
    """As errors name it: `max_attempts`, `target.url`."""
    label: str
    widget: Widget
    choices: tuple[str, ...] = ()
    help: str = ""
    default: Any = None
    """What stands where the field is left empty."""
    required: bool = False

    def text(self, value: Raw | None) -> str:
        """Write a value out for the field; an empty text for none."""
        if value is None or bytes(value) == b"null":
            return ""
        pretty = msgspec.json.format(bytes(value), indent=2).decode()
        if self.widget is Widget.JSON:
            return pretty
        read = LAX.decode(value)
        match self.widget:
            case Widget.FLAG:
                return "on" if read is True else "off"
            case Widget.WORDS:
                return ", ".join(read) if is_words(read) else pretty
            case _:
                return read if isinstance(read, str) else bytes(value).decode()

    def value(self, text: str) -> Raw | None:
        """Read what was filled in; None where that is the default.

        Raises:
            InvalidInput: it is no JSON where only that will do.
        """
        match self.widget:
            case _ if not text:
                return None
            case Widget.FLAG:
                read: object = text == "on"
            case Widget.NUMBER | Widget.JSON:
                return self.json(text)
            case Widget.WORDS if not text.startswith("["):
                read = [word for part in text.split(",") if (word := part.strip())]
            case Widget.WORDS:
                return self.json(text)
            case _:
                read = text
        return None if same(read, self.default) else Raw(msgspec.json.encode(read))

    def json(self, text: str) -> Raw:
        """Read JSON; what is none goes on as a text where a number is wanted, which is refused."""
        try:
            DECODER.decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if self.widget is Widget.NUMBER:
                return Raw(msgspec.json.encode(text))
            message = f"is not JSON: {str(error)[:200]}"
            raise InvalidInput(FieldError(field=self.name, message=message)) from None
        return Raw(text.encode())

    @property
    def placeholder(self) -> str:
        """Show what stands where the field is left empty."""
        if self.default in (None, "", [], {}, ()):
            return EXAMPLES.get(self.name, "JSON" if self.widget is Widget.JSON else "")
        plain = msgspec.to_builtins(self.default)
        return ", ".join(map(str, plain)) if isinstance(plain, list) else f"{plain}"


def is_words(value: object) -> bool:
    """Return whether a list can be written with commas between its texts."""
    return isinstance(value, list) and all(
        isinstance(one, str) and one and "," not in one and one == one.strip() and one[0] != "["
        for one in value
    )


@cache
def fields_of_job(names: tuple[str, ...]) -> tuple[FormField, ...]:
    """Return some of the fields of a job."""
    known = described(JobDocument, "")
    return tuple(known[name] for name in names)


@cache
def fields_of_target(kind: str) -> tuple[tuple[FormField, ...], tuple[FormField, ...]]:
    """Return the fields of a kind's targets: those seen at once, and the others.

    Raises:
        InvalidInput: there is no such kind.
    """
    known = described(target_type(kind), "target")
    first = [known[name] for name in SEEN_AT_ONCE if name in known]
    first += [one for one in known.values() if one.required and one not in first]
    return tuple(first), tuple(one for one in known.values() if one not in first)


def described(type_: type[Struct], within: str) -> Mapping[str, FormField]:
    """Describe the fields of a Struct, by their names in JSON."""
    told = types.type_info(type_)
    assert isinstance(told, types.StructType)  # noqa: S101 - what a Struct's is
    return {one.encode_name: described_field(one, within) for one in told.fields}


def described_field(told: types.Field, within: str) -> FormField:
    """Describe one field."""
    type_, extra = unwrapped(told.type)
    widget, choices = widget_of(told.encode_name, type_)
    if widget is Widget.TEXT and "enum" in extra:
        widget, choices = Widget.CHOICE, tuple(map(str, extra["enum"]))
    default = told.default if told.default is not msgspec.NODEFAULT else None
    return FormField(
        name=joined(within, told.encode_name) if within else told.encode_name,
        label=LABELS.get(told.encode_name) or told.encode_name.replace("_", " ").capitalize(),
        widget=widget,
        choices=choices,
        help=str(extra.get("description", "")),
        default=None if default is UNSET else default,
        required=told.required,
    )


def unwrapped(type_: types.Type) -> tuple[types.Type, dict[str, Any]]:
    """Return a type without null and what is said about it, and what is said."""
    extra: dict[str, Any] = {}
    while True:
        match type_:
            case types.Metadata():
                extra = (type_.extra_json_schema or {}) | extra
                type_ = type_.type
            case types.UnionType() if len(rest := some_of(type_)) == 1:
                type_ = rest[0]
            case _:
                return type_, extra


def some_of(type_: types.UnionType) -> list[types.Type]:
    """Return the types of a union beside null."""
    return [one for one in type_.types if not isinstance(one, types.NoneType)]


def widget_of(  # noqa: PLR0911 - one for each type
    name: str, type_: types.Type
) -> tuple[Widget, tuple[str, ...]]:
    """Return what a field of this type is filled in with, and the words that it takes."""
    match type_:
        case types.BoolType():
            return Widget.FLAG, ()
        case types.IntType() | types.FloatType():
            return Widget.NUMBER, ()
        case types.EnumType():
            return Widget.CHOICE, tuple(str(one.value) for one in type_.cls)
        case types.LiteralType():
            return Widget.CHOICE, tuple(map(str, type_.values))
        case types.StrType():
            return (Widget.LONG if name in LONG_TEXTS else Widget.TEXT), ()
        case types.DateTimeType():
            return Widget.TEXT, ()
        case types.VarTupleType() | types.ListType():
            item, _ = unwrapped(type_.item_type)
            is_text = isinstance(item, types.StrType | types.LiteralType)
            return (Widget.WORDS if is_text else Widget.JSON), ()
        case _:
            return Widget.JSON, ()
