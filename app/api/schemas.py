"""The schemas of the API's description, as msgspec checks them and as generators of code read them.

Generators make one type of each named schema, and read neither `if` nor `then`. So what a type
cannot say well, which target goes with which kind and that a job has exactly one schedule, is said
by these; whatever has a name in another language, such as an enumeration, is a schema of its own.
"""

from collections.abc import Iterable, Iterator
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Struct, inspect
from msgspec.inspect import StructType

from app.core.schedule.schedule import FORMS

REF = "#/components/schemas/{name}"
NULL = {"type": "null"}
TARGET = "JobTarget"
KIND = "JobKind"
OBJECT = "JsonObject"
NO_SCHEMAS = frozenset({"default", "examples", "enum", "const", "discriminator", "if", "then"})
"""The keywords of a schema that hold values, or that no generator reads."""

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}


def schemas(
    types: Iterable[Any], *, targets: dict[str, type[Struct]], of_jobs: tuple[type[Struct], ...]
) -> dict[str, Schema]:
    """Describe every one of these types, and for each kind its targets.

    `of_jobs`: those that have a kind, a target and a schedule. Others with a `cron` have a schedule
    alone.
    """
    shown = [*types, *targets.values()]
    _, found = msgspec.json.schema_components(shown, ref_template=REF)
    for used in structs(shown):
        for field in used.fields:
            with_formats(found[used.cls.__name__]["properties"][field.encode_name], field.type)
    for struct in of_jobs:
        properties = found[struct.__name__]["properties"]
        properties["kind"] |= ref(KIND)
        properties["target"] |= ref(TARGET)
        for name in ("kind", "target"):
            properties[name].pop("type")
            properties[name].pop("additionalProperties", None)
        rules = [{"oneOf": by_kind(targets)}, {"oneOf": by_schedule(struct)}]
        found[struct.__name__] |= {"if": {"type": "object"}, "then": {"allOf": rules}}
    found[KIND] = {
        "description": "Which executor carries a job out.",
        "type": "string",
        "enum": [*targets],
    }
    found[TARGET] = {
        "description": "The instructions of a job's kind.",
        "anyOf": [ref(target.__name__) for target in targets.values()],
    }
    named_enums(found)
    for schema in found.values():
        tidy(schema)
    found[OBJECT] = {
        "description": "Any object of JSON.",
        "type": "object",
        "additionalProperties": True,
    }
    return found


def tidy(schema: Schema) -> None:
    """Say what generators do not take for granted, in a schema and all within it."""
    if "description" in schema:
        schema["description"] = cleandoc(schema["description"])
    if "enum" in schema:
        schema["type"] = "string"
    for one in walk(schema):
        kind = one.get("type")
        if kind == "object" and not {"properties", "additionalProperties"} & one.keys():
            del one["type"]
            one.update(ref(OBJECT))
        if kind == "number":
            one["format"] = "double"


def scheduled(schema: Schema, struct: type[Struct]) -> None:
    """Say that exactly one schedule is given."""
    schema |= {"if": {"type": "object"}, "then": {"oneOf": by_schedule(struct)}}


def structs(types: Iterable[Any]) -> Iterator[StructType]:
    """List every Struct that these types are made of, each once."""
    seen: set[type] = set()
    left: list[object] = [*inspect.multi_type_info(types)]
    while left:
        match left.pop():
            case StructType() as struct if struct.cls not in seen:
                seen.add(struct.cls)
                left += [field.type for field in struct.fields]
                yield struct
            case inspect.UnionType(types=parts):
                left += parts
            case (
                inspect.Metadata(type=part)
                | inspect.ListType(item_type=part)
                | inspect.VarTupleType(item_type=part)
                | inspect.DictType(value_type=part)
            ):
                left.append(part)
            case _:
                pass


def with_formats(schema: Schema, type_: inspect.Type) -> None:
    """Say that instants are instants: msgspec says so only of those that must have an offset."""
    match type_:
        case inspect.DateTimeType():
            schema["format"] = "date-time"
        case inspect.Metadata(type=part):
            with_formats(schema, part)
        case inspect.ListType(item_type=part) | inspect.VarTupleType(item_type=part):
            with_formats(schema.get("items", {}), part)
        case inspect.DictType(value_type=part):
            with_formats(schema.get("additionalProperties", {}), part)
        case inspect.UnionType(types=parts) if any(
            isinstance(bare(one), inspect.DateTimeType) for one in parts
        ):
            for one in schema.get("anyOf", [schema]):
                if one.get("type") == "string":
                    one["format"] = "date-time"
        case _:
            pass


def bare(type_: inspect.Type) -> inspect.Type:
    return bare(type_.type) if isinstance(type_, inspect.Metadata) else type_


def named_enums(found: dict[str, Schema]) -> None:
    """Make each enumeration of several words within a schema a schema of its own."""
    for name, schema in [*found.items()]:
        for field, described in schema.get("properties", {}).items():
            for one in walk(described):
                if len(one.get("enum", ())) > 1:
                    words = one.pop("enum")
                    one.pop("type", None)
                    title = name + "".join(part.capitalize() for part in field.split("_"))
                    found[title] = {
                        "description": f"`{field}` of {name}.",
                        "type": "string",
                        "enum": words,
                    }
                    one.update(ref(title))


def walk(schema: object) -> Iterator[Schema]:
    """List a schema and all within it; what examples and defaults hold is none."""
    match schema:
        case dict():
            yield schema
            for name, value in schema.items():
                if name == "properties":
                    for one in value.values():
                        yield from walk(one)
                elif name not in NO_SCHEMAS:
                    yield from walk(value)
        case list():
            for one in schema:
                yield from walk(one)
        case _:
            pass


def by_kind(targets: dict[str, type[Struct]]) -> list[Schema]:
    """The kind decides on the target."""
    return [
        {
            "title": kind,
            "properties": {"kind": {"const": kind}, "target": ref(target.__name__)},
        }
        for kind, target in targets.items()
    ]


def by_schedule(struct: type[Struct]) -> list[Schema]:
    """Exactly one of the schedules that the Struct has is given."""
    forms = [name for name in (*FORMS, "run_in_seconds") if name in struct.__struct_fields__]
    return [
        {
            "title": name,
            "required": [name],
            "properties": {other: {"not": NULL} if other == name else NULL for other in forms},
        }
        for name in forms
    ]
