"""Tools for agents, made of the operations that the API describes."""

import json
from collections.abc import Container, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from app.cli.remote.api import Api

READ, WRITE = "read", "write"
OUTLOOK = "outlook"
"""The parameter of writes of a job that an agent gets unless it says otherwise."""
ETAG = "etag"
REFS = "#/components/schemas/"
DESTRUCTIVE = frozenset(
    {"applyJobs", "askBulk", "cancelBulk", "cancelExecution", "createJobs", "makeCheckToken"}
)
"""The POSTs that take something away or overwrite it; every PUT, PATCH and DELETE may."""
BODY = "body"

Schema = dict[str, Any]


class Tool:
    """One operation of the API, and what an agent is told of it."""

    def __init__(self, method: str, path: str, operation: Mapping[str, Any]) -> None:
        self.method = method.upper()
        self.path = path
        self.operation = operation
        self.parameters = {argument_of(one): one for one in operation.get("parameters", ())}

    def __repr__(self) -> str:
        return f"<Tool {self.name}: {self.method} {self.path}>"

    @property
    def name(self) -> str:
        """The operation's id."""
        return str(self.operation["operationId"])

    @property
    def description(self) -> str:
        """What it does, in a line, and what there is to know."""
        return f"{self.operation['summary']}. {self.operation.get('description', '')}".strip()

    @property
    def scope(self) -> str:
        """The scope that a key needs."""
        scope: str = self.operation["security"][0]["key"][0]
        return scope

    @property
    def is_destructive(self) -> bool:
        """Whether it may take away or overwrite something."""
        if self.scope == READ:
            return False
        return self.method != "POST" or self.name in DESTRUCTIVE

    @property
    def is_idempotent(self) -> bool:
        """Whether a second call has no further effect."""
        return self.method in {"PUT", "DELETE"}

    def input_schema(self, schemas: Mapping[str, Schema]) -> Schema:
        """Describe the arguments: the parameters, and the body as `body`."""
        properties = {
            name: {"description": one["description"], **one["schema"]}
            for name, one in self.parameters.items()
        }
        if OUTLOOK in properties:
            properties[OUTLOOK]["default"] = True
        required = [name for name, one in self.parameters.items() if one.get("required")]
        if body := self.operation.get("requestBody"):
            content = next(iter(body["content"].values()))
            examples = [one["value"] for one in content["examples"].values()]
            properties[BODY] = {**content["schema"], "examples": examples[:1]}
            if body["required"]:
                required.append(BODY)
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        used = {name: schemas[name] for name in sorted(refs_within(schema, schemas))}
        schema = {**schema, "additionalProperties": False, **({"$defs": used} if used else {})}
        found: Schema = json.loads(json.dumps(schema).replace(REFS, "#/$defs/"))
        return found

    def call(self, api: Api, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what the API answers
        """Call the operation; an answer that has an entity tag has it as `etag`.

        Raises:
            CommandFailed: the API refused, or did not answer.
            KeyError: an argument that it needs is missing.
            ValueError: there is an argument that it does not have, or one that names nothing.
        """
        unknown = arguments.keys() - self.parameters.keys() - {BODY}
        if unknown:
            raise ValueError(f"{self.name} has no argument {min(unknown)!r}: leave it out")
        path, query, headers = self.path, {}, {}
        if OUTLOOK in self.parameters:
            query[OUTLOOK] = True
        for name, one in self.parameters.items():
            if one["in"] == "path":
                part = str(arguments[name])
                if part in {"", ".", ".."}:  # which would lead to another operation
                    raise ValueError(f"{name} is {part!r}, which is no name and no id: write which")
                path = path.replace(f"{{{one['name']}}}", quote(part, safe=""))
            elif name in arguments and one["in"] == "query":
                query[one["name"]] = arguments[name]
            elif name in arguments:
                headers[one["name"]] = str(arguments[name])
        answer, more = api.send(
            self.method, path, query=query, body=arguments.get(BODY), headers=headers
        )
        if isinstance(answer, dict) and more.get("ETag"):
            return {**answer, ETAG: more["ETag"]}
        return answer


def argument_of(parameter: Mapping[str, Any]) -> str:
    """Name the argument of a parameter: `If-Match` is `if_match`."""
    return str(parameter["name"]).lower().replace("-", "_")


def tools_of(document: Mapping[str, Any], scopes: Container[str]) -> list[Tool]:
    """List the operations that need one of these scopes, and answer JSON."""
    found = [
        Tool(method, path, operation)
        for path, item in document["paths"].items()
        if path.startswith("/v1/")
        for method, operation in item.items()
    ]
    return [one for one in found if one.scope in scopes and answers_json(one.operation)]


def answers_json(operation: Mapping[str, Any]) -> bool:
    """Whether an operation answers JSON or nothing, rather than a stream."""
    return all(
        set(response.get("content", {})) <= {"application/json"}
        for status, response in operation["responses"].items()
        if status < "400"
    )


def refs_within(schema: Schema, schemas: Mapping[str, Schema]) -> set[str]:
    """Name the schemas that one refers to, those within these too."""
    found: set[str] = set()
    left = [*direct_refs(schema)]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += direct_refs(schemas[name])
    return found


def direct_refs(schema: object) -> Iterator[str]:
    match schema:
        case dict():
            if "$ref" in schema:
                yield str(schema["$ref"]).removeprefix(REFS)
            for one in schema.values():
                yield from direct_refs(one)
        case list():
            for one in schema:
                yield from direct_refs(one)
        case _:
            pass
