"""The page on logs lists every event with its levels and fields."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, get_args
from uuid import UUID

import pytest
from msgspec.structs import FieldInfo, fields, replace

from app.core.facts import Access, Fact, Serving, Settled
from app.core.runs.outcome import Outcome
from app.telemetry.logs import event_of, severity
from tests.support.pages import ROOT

PAGE = (ROOT / "docs" / "logs.md").read_text("utf-8")
ROWS = {
    row[0].strip("`"): row
    for line in PAGE.partition("## Events")[2].splitlines()
    if len(row := [cell.strip() for cell in line.strip("|").split(" | ")]) == 4
    and row[0].startswith("`")
}
OTHERS = {"library", "log_lines_lost"}
"""Events that are no facts."""
EXAMPLES: dict[type, Any] = {
    str: "text",
    int: 1,
    float: 0.5,
    bool: True,
    UUID: UUID(int=7),
    datetime: datetime(2026, 11, 24, tzinfo=UTC),
}


def example(field: FieldInfo) -> Any:  # noqa: ANN401 - of the field's type
    """Return a value of the first type that a field allows."""
    kind = next(iter(get_args(field.type)), field.type)
    return next(iter(kind)) if issubclass(kind, StrEnum) else EXAMPLES[kind]


def examples(kind: type[Fact]) -> Iterator[Fact]:
    """Yield facts of a type, with each level that the type can have."""
    fact = kind(**{field.name: example(field) for field in fields(kind)})
    match fact:
        case Settled():
            yield replace(fact, outcome=Outcome.SUCCEEDED)
            yield replace(fact, outcome=None, error=None)
            yield replace(fact, outcome=None, error="the target is invalid")
            yield replace(fact, outcome=Outcome.MISSED)
        case Serving():
            yield replace(fact, access=Access.KEYS)
            yield replace(fact, access=Access.OPEN)
        case _:
            yield fact


def test_the_page_has_every_event_and_no_other() -> None:
    assert ROWS.keys() - OTHERS == {event_of(kind) for kind in get_args(Fact)}
    assert ROWS.keys() >= OTHERS


@pytest.mark.parametrize("kind", get_args(Fact), ids=event_of)
def test_an_event_has_the_levels_and_fields_that_the_page_says(kind: type[Fact]) -> None:
    _, levels, named, _ = ROWS[event_of(kind)]
    found = {logging.getLevelName(severity(fact)).lower() for fact in examples(kind)}

    assert set(levels.split(", ")) == found
    assert named.split(", ") == [field.name for field in fields(kind)]
