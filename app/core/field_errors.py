"""Turns msgspec's validation errors into field errors that name the remedy."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect
from msgspec.structs import replace

from app.errors import FieldError

LOCATED = re.compile(r"(?P<message>.*) - at (?:`key` in )?`\$(?P<path>.*)`", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
MISTYPED = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
CONSTRAINED = re.compile(r"Expected `(?P<expected>[^`]*)` (?P<constraint>.*)", re.DOTALL)
NOT_A_CHOICE = re.compile(r"Invalid (?:enum )?value (?P<value>.*)", re.DOTALL)

INSTANT = '"2030-01-31T08:30:00Z"'
EXAMPLES = {
    **dict.fromkeys(("run_at", "starts_at", "ends_at", "from", "to"), INSTANT),
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
    **dict.fromkeys(("tz", "zone", "time_zone"), "timezone"),
    **dict.fromkeys(("uri", "endpoint", "address"), "url"),
    **dict.fromkeys(("payload", "data"), "body"),
    **dict.fromkeys(("queue", "queue_name"), "routing_key"),
}
"""Names that other schedulers have for a field, whose own name is not similar."""
INSIDE_TARGET = frozenset({"url", "uri", "method", "headers", "body", "json", "auth", "payload"})
"""Fields of targets that people write beside the target."""

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


def field_errors(
    error: msgspec.ValidationError,
    *,
    prefix: str,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> list[FieldError]:
    """Name the field below `prefix` that msgspec refused, and say what to write instead.

    msgspec stops at the first error, so the list has one entry. `choices` gives the allowed values
    of a field (named without the prefix), which msgspec's message leaves out.
    """
    text = str(error)
    located = LOCATED.fullmatch(text)
    message = located["message"] if located else text
    path = located["path"].replace("[...]", "").removeprefix(".") if located else ""

    if missing := MISSING.fullmatch(message):
        return [FieldError(field=joined(prefix, path, missing["name"]), message="is required")]
    if unknown := UNKNOWN.fullmatch(message):
        name = joined(prefix, path, unknown["name"])
        message = f"{UNKNOWN_FIELD}: correct its spelling or remove it"
        return [FieldError(field=name, message=message)]
    return [
        FieldError(
            field=joined(prefix, path),
            message=remedy(message, allowed=allowed(path, choices)) + example(path),
        )
    ]


def name_known_fields(
    errors: Iterable[FieldError],
    type_: Any,  # noqa: ANN401 - of a Struct, or any other
    given: object,
    *,
    prefix: str = "",
) -> list[FieldError]:
    """Say for each unknown field what was meant, or which fields there are.

    `type_` is what `given`, at the path `prefix`, was to be; paths of the errors begin with that.
    """
    named = []
    for one in errors:
        *path, name = re.findall(r"[^.\[\]]+", one.field.removeprefix(prefix)) or [""]
        is_unknown = one.message.startswith(UNKNOWN_FIELD)
        known = list(known_fields(type_info(type_), path, given)) if is_unknown else []
        named.append(replace(one, message=unknown_field(name, known)) if known else one)
    return named


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
    return f"{UNKNOWN_FIELD}: there are {', '.join(known)}"


@cache
def type_info(type_: Any) -> inspect.Type:  # noqa: ANN401
    """Look at a type as msgspec reads it, once."""
    return inspect.type_info(type_)


def known_fields(type_: inspect.Type, path: Sequence[str], given: object) -> Iterator[str]:
    """List the fields of the object at a path below a type; of several, `given` tells which."""
    match type_:
        case inspect.UnionType(types=types):
            for one in types:
                yield from known_fields(one, path, given)
        case inspect.StructType(tag=tag, tag_field=tag_field, fields=fields):
            of_this = given.get(tag_field) == tag if tag_field and isinstance(given, dict) else True
            if of_this and not path:
                yield from (field.encode_name for field in fields)
                yield from filter(None, [tag_field])
            elif of_this:
                inner = given.get(path[0]) if isinstance(given, dict) else None
                for field in fields:
                    if field.encode_name == path[0]:
                        yield from known_fields(field.type, path[1:], inner)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if path:
            index = int(path[0]) if path[0].isdecimal() else 0
            inner = given[index] if isinstance(given, list) and index < len(given) else None
            yield from known_fields(item, path[1:], inner)
        case _:
            return


def allowed(path: str, choices: Mapping[str, Sequence[str]] | None) -> Sequence[str] | None:
    """Find the allowed values of a field by its path, or by its name in a list of objects."""
    name = path.rpartition(".")[2].partition("[")[0]
    return (choices or {}).get(path) or (choices or {}).get(name)


def example(path: str) -> str:
    """Return an example of a field that people often write in a wrong way, or an empty text."""
    name = re.sub(r"\[.*?\]", "", path).rpartition(".")[2]
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


def joined(*parts: str) -> str:
    """Join the parts of a JSON path with dots; an index such as `[0]` follows without a dot."""
    path = ""
    for part in filter(None, parts):
        path += part if not path or part.startswith("[") else f".{part}"
    return path


def at_index(index: int, error: FieldError) -> FieldError:
    """Place an error of one item in its list."""
    field = f"[{index}].{error.field}" if error.field else f"[{index}]"
    return replace(error, field=field)
