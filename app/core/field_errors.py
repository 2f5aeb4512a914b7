"""Turns msgspec's validation errors into field errors that name the remedy."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import fields as struct_fields
from msgspec.structs import replace

from app.core.field_paths import joined
from app.core.instants import misread_instant
from app.core.jobs.exact_json import number
from app.errors import WHOLE, FieldError

MAX_ERRORS = 100
"""The most errors that an answer lists."""

LOCATED = re.compile(r"(?P<message>.*) - at (?:`key` in )?`\$(?P<path>.*)`", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
MISTYPED = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
CONSTRAINED = re.compile(r"Expected `(?P<expected>[^`]*)` (?P<constraint>.*)", re.DOTALL)
NOT_AN_INSTANT = re.compile(r"Invalid RFC3339|Expected `datetime` with a timezone")
NOT_A_CHOICE = re.compile(r"Invalid (?:enum )?value (?P<value>.*)", re.DOTALL)

INSTANT = '"2030-01-31T08:30:00Z"'
INSTANTS = ("run_at", "starts_at", "ends_at", "from", "to", "until", "next_before")
"""Fields at the top that are instants: a mail's `to` is none."""
EXAMPLES = {
    "success": '[200, "2xx"]: status codes from 100 to 599, or classes of them',
    "retry_on": '[429, "5xx", "connect"]: status codes, classes of them, or reasons',
    "tags": '["billing", "nightly"]',
    "headers": '{"X-Team": "billing"}',
}

SIMILAR = 0.65
"""Likeness, from 0 to 1, from which on a name may be a misspelt one: `sort` is no `cursor`."""
MEANT = {
    **dict.fromkeys(("retries", "retry", "max_retries", "attempts", "max_tries"), "max_attempts"),
    **dict.fromkeys(("interval", "interval_seconds", "every", "period"), "every_seconds"),
    **dict.fromkeys(("schedule", "cron_expression", "crontab"), "cron"),
    **dict.fromkeys(("at", "when", "time", "scheduled_at"), "run_at"),
    **dict.fromkeys(("delay", "delay_seconds", "in", "in_seconds", "after"), "run_in_seconds"),
    **dict.fromkeys(("tz", "zone", "time_zone"), "timezone"),
    **dict.fromkeys(("uri", "endpoint", "address"), "url"),
    **dict.fromkeys(("payload", "data"), "body"),
    **dict.fromkeys(("queue", "queue_name"), "routing_key"),
}
"""Names that other schedulers have for a field, whose own name is not similar."""
INSIDE_TARGET = frozenset({"url", "uri", "method", "headers", "body", "json", "auth", "payload"})
"""Fields of targets that people write beside the target."""

KEPT_FIELD = "is kept by Tocsin and cannot be written: leave it out"
UNKNOWN_FIELD = "unknown field"
"""How the message of a field begins that no type has."""

WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "datetime": "an RFC 3339 date and time",
    "uuid": "a UUID",
}


class Location(Struct, frozen=True, kw_only=True):
    """A location in the input: the path `top`, and the steps that lead on from there."""

    top: str = ""
    choices: Mapping[str, Sequence[str]] = {}
    """The allowed values of fields, named without `top`, which msgspec's messages leave out."""
    kept: Collection[str] = ()
    """The fields at the top that Tocsin alone writes."""
    steps: tuple[str | int, ...] = ()

    def inside(self, *steps: str | int) -> "Location":
        return replace(self, steps=(*self.steps, *steps))

    def saying(self, message: str) -> FieldError:
        return FieldError(field=joined(self.top, *self.steps) or WHOLE, message=message)

    def error(self, error: msgspec.ValidationError, text: bytes) -> FieldError:
        """Word what msgspec said of the text at this location."""
        located = LOCATED.fullmatch(str(error))
        message = located["message"] if located else str(error)
        # The names in msgspec's paths are those of fields. msgspec leaves out the keys of objects,
        # so the rest of a path after such a key names no location.
        path = located["path"].partition("[...]")[0] if located else ""
        found = re.findall(r"\.([^.\[\]]+)|\[([0-9]+)\]", path)
        location = self.inside(*(name or int(index) for name, index in found))
        if missing := MISSING.fullmatch(message):
            return location.inside(missing["name"]).saying("is required")
        if unknown := UNKNOWN.fullmatch(message):
            said = f"{UNKNOWN_FIELD}: correct its spelling or remove it"
            return location.inside(unknown["name"]).saying(said)
        path = joined("", *location.steps)
        if NOT_AN_INSTANT.match(message) and not found:
            said = misread_instant(str(msgspec.json.decode(text)))
        else:
            said = remedy(message, allowed=allowed(path, self.choices))
        return location.saying(said + example(joined(self.top, *location.steps)))


def type_errors(
    error: msgspec.ValidationError,
    type_: Any,  # noqa: ANN401 - a Struct, or a union of some
    text: bytes,
    location: Location,
) -> list[FieldError]:
    """List what is wrong with JSON that msgspec refused as this type, up to `MAX_ERRORS`.

    msgspec stops at the first error, so each field is decoded by itself; `error` is what msgspec
    said.
    """
    found = list(islice(errors_inside(type_, text, location), MAX_ERRORS))
    return found or [location.error(error, text)]


def errors_inside(type_: Any, text: bytes, location: Location) -> Iterator[FieldError]:  # noqa: ANN401
    """Find the errors of fields and items, and so none in a value that is neither object nor list.

    Of several Structs in a union the tag tells which is meant.
    """
    forms = list(members(type_))
    try:
        fields = msgspec.json.decode(text, type=dict[str, Raw] | list[Raw])
    except msgspec.ValidationError:
        return
    if isinstance(fields, list):
        for item_type in filter(None, map(item_of, forms)):
            for index, item in enumerate(fields):
                yield from errors_of(item_type, bytes(item), location.inside(index))
        return
    structs = [one for one in forms if is_struct(one) and is_meant(one, fields)]
    for struct in structs:
        yield from struct_errors(struct, fields, location)


def struct_errors(
    struct: type[Struct], given: Mapping[str, Raw], location: Location
) -> Iterator[FieldError]:
    known = {field.encode_name: field for field in struct_fields(struct)}
    tag_field = struct.__struct_config__.tag_field
    names = [*known, *filter(None, [tag_field])]
    meant = set()
    for name, text in given.items():
        if name in known:
            yield from errors_of(known[name].type, bytes(text), location.inside(name))
        elif name != tag_field and struct.__struct_config__.forbid_unknown_fields:
            is_kept = name in location.kept and not location.steps
            said = KEPT_FIELD if is_kept else unknown_field(name, names)
            meant.update(re.findall(r"did you mean (\w+)\?", said))
            yield location.inside(name).saying(said)
    for name, field in known.items():
        if field.required and name not in given and name not in meant:
            yield location.inside(name).saying("is required")


def errors_of(type_: Any, text: bytes, location: Location) -> Iterator[FieldError]:  # noqa: ANN401
    """Find the errors of one value: those inside, or that of the value itself."""
    try:
        Decoder(type_, float_hook=number).decode(text)
    except msgspec.ValidationError as error:
        found = False
        for one in errors_inside(type_, text, location):
            found = True
            yield one
        if not found:
            yield location.error(error, text)


def members(type_: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the types of a union, without what annotates them."""
    match get_origin(type_):
        case origin if origin is Annotated:
            yield from members(get_args(type_)[0])
        case origin if origin in (Union, UnionType):
            for one in get_args(type_):
                yield from members(one)
        case _:
            yield type_


def item_of(type_: Any) -> Any:  # noqa: ANN401
    """Return the type of a list's items; None if the type is no list."""
    return get_args(type_)[0] if get_origin(type_) in (list, tuple, frozenset) else None


def is_struct(type_: Any) -> bool:  # noqa: ANN401
    return isinstance(type_, type) and issubclass(type_, Struct)


def is_meant(struct: type[Struct], given: Mapping[str, Raw]) -> bool:
    """Whether the tag is that of the Struct, which may have none."""
    config = struct.__struct_config__
    if config.tag_field is None:
        return True
    tag = given.get(config.tag_field)
    return tag is not None and msgspec.json.decode(tag) == config.tag


def unknown_field(name: str, known: Sequence[str]) -> str:
    """Say that there is no such field, and what may have been meant."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")
    for meant in (words, f"{words}_seconds", MEANT.get(words)):
        if meant in known:
            return f"{UNKNOWN_FIELD}: did you mean {meant}?"
    if "target" in known and words in INSIDE_TARGET:
        return f"{UNKNOWN_FIELD}: write it inside target"
    if close := get_close_matches(words, known, n=1, cutoff=SIMILAR):
        return f"{UNKNOWN_FIELD}: did you mean {close[0]}?"
    if not known:
        return f"{UNKNOWN_FIELD}: there are none here"
    return f"{UNKNOWN_FIELD}: there are {', '.join(known)}"


def allowed(path: str, choices: Mapping[str, Sequence[str]] | None) -> Sequence[str] | None:
    """Find the allowed values of a field by its path, or by its name in a list of objects."""
    name = path.rpartition(".")[2].partition("[")[0]
    return (choices or {}).get(path) or (choices or {}).get(name)


def example(path: str) -> str:
    """Return an example of a field that people often write in a wrong way, or an empty text."""
    above, _, name = re.sub(r"\[.*?\]", "", path).strip(".").rpartition(".")
    if name in INSTANTS and not above:
        return f"; for example {INSTANT}"
    if name.endswith("_seconds"):
        return "; for example 10 or 0.5: seconds, without a unit"
    return f"; for example {EXAMPLES[name]}" if name in EXAMPLES else ""


def remedy(message: str, *, allowed: Sequence[str] | None) -> str:
    """Rewrite msgspec's `message` for readers who know JSON but not Python."""
    if mistyped := MISTYPED.fullmatch(message):
        return f"must be {in_words(mistyped['expected'])}, not {in_words(mistyped['got'])}"
    if constrained := CONSTRAINED.fullmatch(message):
        return f"must be {in_words(constrained['expected'])} {constrained['constraint']}"
    if refused := NOT_A_CHOICE.fullmatch(message):
        if allowed:
            return f"{refused['value']} is not known: write one of {', '.join(allowed)}"
        return f"{refused['value']} is not an allowed value"
    return message[:1].lower() + message[1:]


def in_words(types: str) -> str:
    """Translate msgspec's names of types: `int | null` becomes `an integer or null`."""
    return " or ".join(WORDS.get(name, name) for name in types.split(" | "))
