"""Targets that somebody writes to be costly: what is wrong with them is told at a bounded cost."""

import json
from typing import Any

import pytest
from msgspec import Raw

from app.core.field_errors import MAX_ERRORS
from app.core.net.headers import MAX_HEADERS, MAX_HEADERS_LENGTH
from app.core.secrets.masking import pieces, secrets_in, secrets_of
from app.core.secrets.redaction import redact
from app.core.secrets.references import (
    MAX_REFERENCES,
    MAX_VALUE_LENGTH,
    FilledTooLong,
    with_values,
)
from app.errors import InvalidInput
from app.targets import registry
from app.targets.http.target import HttpTarget
from app.targets.registry import MAX_REDACTED, decode_target
from app.vault import check_target

URL = "https://hooks.example/"


def test_a_target_with_thousands_of_wrong_headers_names_the_first() -> None:
    headers = {f"a b{index}": "" for index in range(5000)}

    with pytest.raises(InvalidInput) as caught:
        decode_target("http", {"url": URL, "headers": headers})

    assert len(caught.value.errors) == MAX_ERRORS == MAX_HEADERS
    assert "a b0" in caught.value.errors[0].field


def test_thousands_of_secrets_are_looked_for_in_few_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = 0

    def counting(secrets: set[str], text: str) -> str:
        nonlocal pairs
        pairs += len(secrets)
        return redact(secrets, text)

    monkeypatch.setattr(registry, "redact", counting)
    headers = {f"key {index}": f"sesame{index}" for index in range(3000)}

    with pytest.raises(InvalidInput, match="is no header name"):
        decode_target("http", json.dumps({"url": URL, "headers": headers}).encode())

    assert 0 < pairs <= MAX_REDACTED


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ({f"key{index}": "x" for index in range(MAX_HEADERS + 1)}, "entries"),
        ({"key": "sesame " * MAX_HEADERS_LENGTH}, "characters in all"),
    ],
)
def test_what_is_looked_for_in_each_answer_is_limited(
    secrets: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        decode_target("http", {"url": URL, "json": {}, "json_secrets": secrets})


def test_a_target_refers_to_secrets_a_limited_number_of_times() -> None:
    often = "${secret:A}" * MAX_REFERENCES

    check_target("http", {"url": URL, "headers": {"X-Key": often}})
    with pytest.raises(InvalidInput, match="200 times at most"):
        check_target("http", {"url": URL, "headers": {"X-Key": often, "X-Other": "${secret:B}"}})


def test_references_become_a_limited_number_of_characters() -> None:
    target = {"url": URL, "headers": {"X-Key": "${secret:A}" * 5}}

    with pytest.raises(FilledTooLong):
        with_values(HttpTarget, target, {"A": "x" * MAX_VALUE_LENGTH})


@pytest.mark.parametrize(
    "given",
    [
        {"json": [[], {"a": 1.0}, "\u00e9"]},
        {"json": {"a": 1}, "json_secrets": {"key": "sesame"}},
        {
            "json": {"b": [1.50], "key": 1, "a": {}},
            "json_secrets": {"k\u00e9": "x", "key": "sesame"},
        },
        {"json": 0.1234567890123456789},
        {"body": "text"},
        {},
    ],
)
def test_a_packed_target_sends_the_same(given: dict[str, Any]) -> None:
    target = decode_target("http", json.dumps({"url": URL} | given).encode())

    packed = target.packed()

    assert isinstance(target, HttpTarget)
    assert isinstance(packed, HttpTarget)
    assert packed.content() == target.content()
    assert secrets_of(packed) == secrets_of(target)
    assert "sesame" not in f"{packed!r} {packed}"
    assert isinstance(packed.json, Raw | None)


def test_all_texts_inside_a_secret_are_secrets_however_deep() -> None:
    deep: object = "sesame"
    for _ in range(5000):
        deep = [deep, {"a": "open"}]

    assert secrets_in(HttpTarget, {"auth": deep}) == {"sesame", "open"}


@pytest.mark.parametrize(
    ("secret", "parts"),
    [
        ("1234567", {"1234567"}),
        ("12345678", {"12345678"}),
        ("a 12345678", {"a 12345678", "12345678"}),
    ],
)
def test_pieces_of_a_secret_have_eight_characters(secret: str, parts: set[str]) -> None:
    assert pieces(secret) == parts
