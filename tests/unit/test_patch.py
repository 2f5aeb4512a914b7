"""Merge patches: the cases of RFC 7396, and what they mean for a job."""

from typing import Any

import pytest
from msgspec import convert

from app.core.jobs.job import JobDocument, JobPatch
from app.core.jobs.patch import merged, patched
from app.errors import InvalidInput

DOCUMENT = JobDocument(
    kind="http",
    target={"url": "http://x", "headers": {"A": "1", "B": "2"}},
    cron="0 3 * * *",
    tags=("a",),
    max_attempts=2,
    paused=False,
)


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
    ids=str,
)
def test_a_merge_patch_does_what_the_rfc_says(
    value: Any,  # noqa: ANN401
    patch: Any,  # noqa: ANN401
    result: Any,  # noqa: ANN401
) -> None:
    assert merged(value, patch) == result


def test_merging_leaves_what_was_given_as_it_was() -> None:
    value = {"a": {"b": 1}}

    merged(value, {"a": {"b": 2}})

    assert value == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("patch", "changes"),
    [
        ({}, {}),
        ({"tags": ["b"]}, {"tags": ("b",)}),
        ({"tags": None, "max_attempts": None}, {"tags": (), "max_attempts": 5}),
        ({"cron": None, "every_seconds": 5}, {"cron": None, "every_seconds": 5.0}),
        (
            {"target": {"headers": {"A": None}, "method": "PUT"}},
            {"target": {"url": "http://x", "headers": {"B": "2"}, "method": "PUT"}},
        ),
        ({"metadata": {"a": {"b": 1}}}, {"metadata": {"a": {"b": 1}}}),
        ({"paused": True}, {"paused": True}),
    ],
    ids=str,
)
def test_a_patch_changes_what_it_names(patch: dict[str, Any], changes: dict[str, Any]) -> None:
    result = patched(DOCUMENT, convert(patch, JobPatch))

    different = {
        name: getattr(result, name)
        for name in JobDocument.__struct_fields__
        if getattr(result, name) != getattr(DOCUMENT, name)
    }
    assert different == changes


def test_what_has_no_default_cannot_be_null() -> None:
    with pytest.raises(InvalidInput) as refusal:
        patched(DOCUMENT, convert({"kind": None, "target": None}, JobPatch))

    assert [error.field for error in refusal.value.errors] == ["kind", "target"]
