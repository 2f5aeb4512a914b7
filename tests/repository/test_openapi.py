"""The API's description has what generators of clients make good code of."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from app.api.openapi import description
from app.api.schemas import walk
from app.asgi import create_app
from app.cli.remote.fields import FIELDS
from app.config import Settings
from app.core.jobs.names import RESERVED_NAMES
from app.targets.registry import KINDS

APP = create_app(Settings(database_url="postgresql://nowhere/none"))
DOCUMENT: dict[str, Any] = json.loads(json.dumps(description(APP)))
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    one["operationId"]: one for item in DOCUMENT["paths"].values() for one in item.values()
}
ANNOTATIONS = {"title", "description", "default", "examples"}
SAYS_A_TYPE = {"$ref", "type", "enum", "const", "anyOf", "oneOf"}
IGNORED = (
    SCHEMAS["JobReplacement"]["properties"].keys() - SCHEMAS["JobDocument"]["properties"].keys()
)
ANY_JSON = {"json", "before", "after", *IGNORED}
"""The fields that may be anything: bodies, values of any field, and what is ignored."""


def all_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in SCHEMAS.items():
        for one in walk(schema):
            yield name, one
    for name, operation in OPERATIONS.items():
        for parameter in operation.get("parameters", ()):
            for one in walk(parameter["schema"]):
                yield f"{name}.{parameter['name']}", one


def test_no_two_schemas_say_the_same() -> None:
    said: dict[str, str] = {}
    for name, schema in SCHEMAS.items():
        bare = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        assert said.setdefault(json.dumps(bare, sort_keys=True), name) == name


def test_a_schema_has_one_name_whatever_the_case_and_none_ends_in_a_number() -> None:
    assert len({name.lower() for name in SCHEMAS}) == len(SCHEMAS)
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*[A-Za-z]", name) for name in SCHEMAS)
    assert all(schema["description"] for schema in SCHEMAS.values())


def test_each_object_says_what_else_it_may_have_or_what_it_has() -> None:
    for name, one in all_schemas():
        if one.get("type") == "object":
            assert one.get("properties") or "additionalProperties" in one, name
    assert SCHEMAS["JsonObject"]["additionalProperties"] is True
    assert SCHEMAS["Job"]["properties"]["metadata"] == {"$ref": "#/components/schemas/JsonObject"}


def test_each_field_has_a_type() -> None:
    for name, one in all_schemas():
        for field, schema in one.get("properties", {}).items():
            assert (SAYS_A_TYPE & schema.keys()) or field in ANY_JSON, (name, field)


def test_each_enumeration_is_a_schema_of_its_own() -> None:
    roots = [schema for schema in SCHEMAS.values() if "enum" in schema]
    for name, one in all_schemas():
        assert len(one.get("enum", ())) < 2 or any(one is root for root in roots), name
    assert all(root["type"] == "string" for root in roots)


def test_instants_and_fractions_have_a_format() -> None:
    for name, one in all_schemas():
        if one.get("type") == "number":
            assert one["format"] == "double", name
        for field, schema in one.get("properties", {}).items():
            texts = [part for part in walk(schema) if part.get("type") == "string"]
            if field.endswith("_at") and texts:
                assert texts[0].get("format") == "date-time" or name == "Facts", (name, field)


def test_a_target_is_one_of_those_that_kinds_have() -> None:
    assert SCHEMAS["JobKind"]["enum"] == [*KINDS]
    targets = [one["$ref"] for one in SCHEMAS["JobTarget"]["anyOf"]]
    assert targets == [f"#/components/schemas/{kind.capitalize()}Target" for kind in KINDS]
    for name in ("JobDocument", "JobReplacement", "BatchJob"):
        assert SCHEMAS[name]["properties"]["target"]["$ref"] == "#/components/schemas/JobTarget"
        assert SCHEMAS[name]["type"] == "object"
        assert not {"allOf", "anyOf", "oneOf"} & SCHEMAS[name].keys()
    auth = SCHEMAS["HttpTarget"]["properties"]["auth"]["anyOf"][0]
    assert auth["discriminator"]["propertyName"] == "type"


def test_no_parameter_or_answer_has_alternatives_without_a_name() -> None:
    for name, operation in OPERATIONS.items():
        for parameter in operation.get("parameters", ()):
            assert not {"oneOf", "anyOf"} & parameter["schema"].keys(), name
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                assert content["schema"].keys() in ({"$ref"}, {"type"}), name
            for header in response.get("headers", {}).values():
                assert header["schema"] == {"type": "string"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_reads_as_a_function(name: str) -> None:
    operation = OPERATIONS[name]

    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)
    assert operation["summary"]
    assert operation["tags"][0] in {one["name"] for one in DOCUMENT["tags"]}
    problems = [one for status, one in operation["responses"].items() if status >= "400"]
    assert all(one.keys() == {"$ref"} for one in problems)
    if body := operation.get("requestBody"):
        assert all(content["examples"] for content in body["content"].values())


def test_every_post_may_be_sent_twice_and_every_write_tried() -> None:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            named = {one["name"] for one in operation.get("parameters", ())}
            if method != "get" and path.startswith("/v1/"):
                assert "dry_run" in named, operation["operationId"]
                assert ("Idempotency-Key" in named) is (method == "post"), operation["operationId"]


def test_every_problem_has_the_same_schema() -> None:
    used = {
        response["$ref"].rpartition("/")[2]
        for operation in OPERATIONS.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    }
    responses = DOCUMENT["components"]["responses"]
    assert used == responses.keys()
    for response in responses.values():
        assert response["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }


def test_commands_know_the_fields_of_all_that_they_print() -> None:
    for name, fields in FIELDS.items():
        assert set(fields.split()) == SCHEMAS[name]["properties"].keys(), name


def test_every_word_that_stands_where_a_name_may_is_no_name_of_a_job() -> None:
    ways = [
        route.path_format.strip("/").split("/")
        for route in APP.routes
        if isinstance(route, HTTPRoute)
    ]
    with_names = {
        tuple(way[:place])
        for way in ways
        for place, part in enumerate(way)
        if part in {"{job}", "{name}", "{key}", "{flow_key}", "{rule}", "{channel}"}
    }
    beside = {
        "/".join(before): {
            way[len(before)]
            for way in ways
            if len(way) > len(before)
            and tuple(way[: len(before)]) == before
            and not way[len(before)].startswith("{")
        }
        for before in with_names
    }

    assert beside.pop("v1/jobs") == {*RESERVED_NAMES}
    assert beside.pop("live") == {"jobs", "lists", "tables"}  # whose names are ours
    assert [*beside.values()] == [set()] * len(beside), beside
    assert len(beside) >= 8  # flows, calendars, rules, …
