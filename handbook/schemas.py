"""JSON Schemas in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from handbook.tables import code

Schema = Mapping[str, Any]
NULL = {"type": "null"}
FORMATS = {"date-time": "instant", "uuid": "UUID"}
LIMITS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)
"""The words of a schema for the least and the most of a value, and what they count."""


def alternatives(schema: Schema) -> list[Schema]:
    """Return what a value may be one of, null left out."""
    options = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return [one for one in options if one != NULL]


def is_nullable(schema: Schema) -> bool:
    """Return whether null is a value."""
    return NULL in (schema.get("anyOf") or schema.get("oneOf") or ())


def name_of(ref: str) -> str:
    """Return the name at the end of a reference."""
    return ref.rpartition("/")[-1]


def type_in_words(schema: Schema, found: Mapping[str, Schema]) -> str:
    """Return the type of a value, such as `integer or null`."""
    kinds = [kind_in_words(one, found) for one in alternatives(schema)]
    return " or ".join(dict.fromkeys([*kinds, *(["null"] if is_nullable(schema) else [])]))


def kind_in_words(schema: Schema, found: Mapping[str, Schema]) -> str:
    """Return the type of a value that is not null."""
    match schema:
        case {"$ref": str(ref)}:
            named = found.get(name_of(ref), {})
            return kind_in_words(named, found) if "enum" in named else name_of(ref)
        case {"enum": [*values]}:
            return ", ".join(code(str(value)) for value in values)
        case {"format": str(form)} if form in FORMATS:
            return FORMATS[form]
        case {"type": "array", "items": dict(items)}:
            return f"list of {type_in_words(items, found)}"
        case {"anyOf": _} | {"oneOf": _}:
            return type_in_words(schema, found)
        case _:
            kinds = schema.get("type", "any JSON")
            return kinds if isinstance(kinds, str) else " or ".join(kinds)


def limits_in_words(schema: Schema) -> str:
    """Return the bounds of a value, such as `1 to 1,000`."""
    said: list[str] = []
    for one in alternatives(schema):
        items = limits(one.get("items", {}))
        said.append(limits(one) + (f", each {items}" if items else ""))
    return "; ".join(one for one in said if one)


def limits(schema: Schema) -> str:
    """Return the bounds that one schema says itself."""
    said = []
    for least, most, unit in LIMITS:
        low, high = (number(schema[name]) if name in schema else "" for name in (least, most))
        if low and high:
            said.append(f"{low} to {high}{unit}")
        elif low or high:
            said.append(f"{'at least' if low else 'at most'} {low or high}{unit}")
    return ", ".join(said)


def number(value: float) -> str:
    """Return a number as people write it."""
    return f"{value:,}" if isinstance(value, int) else f"{value:f}".rstrip("0").rstrip(".")


def description_of(schema: Schema) -> str:
    """Return what a schema says of its values, also of one of several."""
    said = [schema.get("description"), *(one.get("description") for one in alternatives(schema))]
    return next((one for one in said if one), "")


def references(schema: Any) -> Iterator[str]:  # noqa: ANN401 - any part of a document
    """Yield the names of all schemas that one refers to, as they stand there."""
    match schema:
        case {"$ref": str(ref)}:
            yield name_of(ref)
        case dict():
            for value in schema.values():
                yield from references(value)
        case list():
            for value in schema:
                yield from references(value)
        case _:
            pass
