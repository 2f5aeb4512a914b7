"""The fields of jobs and of the targets of each kind."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.core.jobs.job import Job, JobDocument
from app.targets.auth import AUTH_TYPES
from app.targets.registry import KINDS, target_type
from handbook.places import ROOT
from handbook.schemas import Schema, description_of, limits_in_words, type_in_words
from handbook.tables import code, described_attributes, first_paragraph, table

ADDED = re.compile(r"add column (\w+)")
RENAMED = {"paused": "paused_at", "run_in_seconds": "run_at"}
"""Fields that stand for a column of another name."""
SINCE_THE_FIRST = "0.1.0"
HEADS = ("field", "type", "bounds", "default", "meaning", "since")


def components(*types: Any) -> dict[str, Schema]:  # noqa: ANN401 - whatever msgspec describes
    """Return the JSON Schemas of types, by their names."""
    _, found = msgspec.json.schema_components(types)
    return found


def released() -> dict[str, str]:
    """Return the release that each frozen migration came with, by its file's name."""
    folder = ROOT / "db" / "migrations"
    return {
        line.split()[1]: SINCE_THE_FIRST
        for line in (folder / "RELEASED").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    }


def since() -> dict[str, str]:
    """Return the release of each column of jobs that was added after the first."""
    version = re.findall(
        r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )[0]
    frozen = released()
    found: dict[str, str] = {}
    for file in sorted((ROOT / "db" / "migrations").glob("*.sql")):
        text = file.read_text("utf-8")
        for statement in re.findall(r"alter table tocsin\.jobs\b[^;]*;", text):
            for column in ADDED.findall(statement):
                found.setdefault(column, frozen.get(file.name, version))
    return found


def default_of(name: str, schema: Schema, one: Schema) -> str:
    """Return the default of a field as JSON; that it is needed where there is none."""
    if name in one.get("required", ()):
        return "needed"
    if "default" not in schema:
        return ""
    return code(msgspec.json.encode(schema["default"]).decode())


def said_of(cls: type) -> dict[str, str]:
    """Return what is written below each field of a Struct, or of one that it is made of."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if one.__module__.startswith("app."):
            found |= described_attributes(one)
    return found


def rows(
    one: Schema, found: Mapping[str, Schema], said: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Return a row for each field of an object."""
    return [
        (
            code(name),
            type_in_words(schema, found),
            limits_in_words(schema),
            default_of(name, schema, one),
            description_of(schema) or first_paragraph(said.get(name)),
        )
        for name, schema in one["properties"].items()
    ]


def struct_table(cls: type) -> str:
    """Return the table of the fields of a Struct."""
    found = components(cls)
    return table(HEADS[:-1], rows(found[cls.__name__], found, said_of(cls)))


def fields_page() -> str:
    """Return the page of all fields of a job and of its target."""
    found = components(JobDocument, Job)
    written = found["JobDocument"]
    added = since()
    lines = [
        (*row, added.get(RENAMED.get(name, name), SINCE_THE_FIRST))
        for name, row in zip(
            written["properties"], rows(written, found, said_of(JobDocument)), strict=True
        )
    ]
    said = said_of(Job)
    told = {
        name: schema
        for name, schema in found["Job"]["properties"].items()
        if name not in written["properties"]
    }
    parts = [
        "# Fields of a job",
        (
            "What clients write: the API, files, and columns of `tocsin.jobs` of the same names. A "
            "schedule is one of `run_at`, `cron` and `every_seconds`. "
            "[Schedules](../schedules.md) and [targets](../targets.md) say what they mean together."
        ),
        table(HEADS, lines),
        "## What a job says of itself",
        "Fields that the API answers in addition; nobody writes them.",
        table(
            ("field", "type", "meaning"),
            [
                (
                    code(name),
                    type_in_words(schema, found),
                    description_of(schema) or first_paragraph(said.get(name)),
                )
                for name, schema in told.items()
            ],
        ),
    ]
    for kind in sorted(KINDS):
        target = target_type(kind)
        parts += [f"## Target of the kind {code(kind)}", first_paragraph(target.__doc__)]
        parts.append(struct_table(target))
    parts += ["## Auth", "The `auth` of a target, by its `type`."]
    for name, auth in AUTH_TYPES.items():
        parts += [f"### {code(name)}", first_paragraph(auth.__doc__), struct_table(auth)]
    return "\n\n".join(parts)
