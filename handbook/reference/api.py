"""The operations of the API, and what they take and answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.api.openapi import description
from app.asgi import create_app
from app.config import Settings
from handbook.schemas import Schema, description_of, limits_in_words, references, type_in_words
from handbook.tables import code, table

NOWHERE = "postgresql://handbook@127.0.0.1/handbook"
"""No request is made, so no connection either."""
Document = Mapping[str, Any]


def document() -> Document:
    """Return the description that the API gives of itself."""
    return description(create_app(Settings(database_url=NOWHERE)))


def operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, Document]]:
    """Yield (method, path, operation) of all operations."""
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def linked(name: str) -> str:
    """Return a link to the schema of a name on this page."""
    return f"[{name}](#{name.lower()})"


def content(part: Document) -> str:
    """Return what a body is, by its media type."""
    said = []
    for media_type, one in part.get("content", {}).items():
        names = list(dict.fromkeys(references(one.get("schema", {}))))
        said.append(f"{', '.join(map(linked, names))} {code(media_type)}".strip())
    return "; ".join(said)


def operation_text(method: str, path: str, one: Document, found: Mapping[str, Schema]) -> str:
    """Return the section of an operation."""
    scopes = [str(scope) for way in one.get("security", ()) for scope in way.get("key", ())]
    parts = [f"### {method} {path}", f"{one.get('summary', '')}.", one.get("description", "")]
    if scopes:
        parts.append(f"Scope: {code(scopes[0])}.")
    if parameters := one.get("parameters"):
        parts.append(
            table(
                ("parameter", "in", "type", "bounds", "meaning"),
                [
                    (
                        code(given["name"]),
                        given["in"],
                        type_in_words(given["schema"], found),
                        limits_in_words(given["schema"]),
                        given.get("description") or description_of(given["schema"]),
                    )
                    for given in parameters
                ],
            )
        )
    if body := content(one.get("requestBody", {})):
        parts.append(f"Body: {body}.")
    answers = [
        (status, content(answer)) for status, answer in one["responses"].items() if status < "4"
    ]
    refusals = ", ".join(status for status in one["responses"] if status >= "4")
    parts.append(table(("answer", "body"), answers))
    if refusals:
        parts.append(f"[Problems](words.md#problems): {refusals}.")
    return "\n\n".join(part for part in parts if part)


def schema_text(name: str, one: Schema, found: Mapping[str, Schema]) -> str:
    """Return the section of a schema."""
    parts = [f"### {name}", one.get("description", "")]
    if "enum" in one:
        parts.append(", ".join(code(str(value)) for value in one["enum"]))
    if properties := one.get("properties"):
        parts.append(
            table(
                ("field", "type", "bounds", "meaning"),
                [
                    (
                        code(field),
                        type_in_words(schema, found),
                        limits_in_words(schema),
                        description_of(schema),
                    )
                    for field, schema in properties.items()
                ],
            )
        )
    return "\n\n".join(part for part in parts if part)


def api_page(described: Document | None = None) -> str:
    """Return the page of all operations and of all that they take and answer."""
    whole = described or document()
    found: Mapping[str, Schema] = whole["components"]["schemas"]
    by_tag: dict[str, list[str]] = {}
    for method, path, one in operations(whole["paths"]):
        [tag, *_] = one.get("tags") or ["Other"]
        by_tag.setdefault(tag, []).append(operation_text(method, path, one, found))
    sections = [
        part for tag, texts in sorted(by_tag.items()) for part in (f"## {tag.capitalize()}", *texts)
    ]
    return "\n\n".join(
        [
            "# API",
            (
                "Every operation, as the API describes it at `/docs` and in `/openapi.json`. "
                "[The API](../api.md) shows how they are used."
            ),
            *sections,
            "## Schemas",
            *(schema_text(name, one, found) for name, one in sorted(found.items())),
        ]
    )
