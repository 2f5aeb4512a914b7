"""Targets that somebody writes to be costly: what is wrong with them is told at a bounded cost."""

import json

import pytest

from app.core.field_errors import MAX_ERRORS
from app.core.net.headers import MAX_HEADERS
from app.core.secrets.masking import pieces, secrets_in
from app.core.secrets.redaction import redact
from app.errors import InvalidInput
from app.targets import registry
from app.targets.http.target import HttpTarget
from app.targets.registry import MAX_REDACTED, decode_target

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
