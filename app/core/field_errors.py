"""Turns msgspec's validation errors into field errors that name the remedy."""

import re
from collections.abc import Mapping, Sequence

import msgspec
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
        return [FieldError(field=name, message="unknown field: correct its spelling or remove it")]
    return [
        FieldError(
            field=joined(prefix, path),
            message=remedy(message, allowed=allowed(path, choices)) + example(path),
        )
    ]


def allowed(path: str, choices: Mapping[str, Sequence[str]] | None) -> Sequence[str] | None:
    """Find the allowed values of a field by its path, or by its name in a list of objects."""
    return (choices or {}).get(path) or (choices or {}).get(path.rpartition(".")[2])


def example(path: str) -> str:
    """Return an example of a field that people often write in a wrong way, or an empty text."""
    name = re.sub(r"\[.*?\]", "", path).rpartition(".")[2]
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
