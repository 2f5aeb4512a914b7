"""Secrets: hidden wherever they are, and put back where they belong."""

import json
from typing import Annotated, Any

import pytest
from msgspec import Struct, field

from app.core.secrets.masking import (
    MASK,
    NAMED_SECRETS,
    URL_SECRET,
    Masked,
    Secret,
    mask,
    redact,
    secrets_of,
    sounds_secret,
    unmask,
)
from app.errors import InvalidInput
from app.targets.registry import target_type

HTTP = target_type("http")
AMQP = target_type("amqp")

HTTP_TARGET = {
    "url": "https://example.com/@user/report",
    "headers": {"X-Api-Key": "k1", "Accept": "text/plain", "Cookie": "c=1"},
    "auth": {"type": "basic", "username": "me", "password": "sesame"},
    "json": {"token": "what a body holds is not hidden"},
}
HTTP_MASKED = {
    "url": "https://example.com/@user/report",
    "headers": {"X-Api-Key": MASK, "Accept": "text/plain", "Cookie": MASK},
    "auth": {"type": "basic", "username": "me", "password": MASK},
    "json": {"token": "what a body holds is not hidden"},
}
AMQP_TARGET = {
    "url": "amqp://me:sesame@broker:5672/%2F",
    "headers": {"x-token": "t", "x-delay": 5, "deep": [{"password": 7, "user": "me"}]},
    "routing_key": "q",
}
AMQP_MASKED = {
    "url": "amqp://me:***@broker:5672/%2F",
    "headers": {"x-token": MASK, "x-delay": 5, "deep": [{"password": MASK, "user": "me"}]},
    "routing_key": "q",
}

CASES = pytest.mark.parametrize(
    ("type_", "target", "masked"),
    [(HTTP, HTTP_TARGET, HTTP_MASKED), (AMQP, AMQP_TARGET, AMQP_MASKED)],
    ids=["http", "amqp"],
)


@CASES
def test_secrets_read_as_stars(type_: type[Struct], target: dict[str, Any], masked: dict[str, Any]):
    assert mask(type_, target) == masked


@CASES
def test_stars_sent_back_keep_what_is_stored(
    type_: type[Struct], target: dict[str, Any], masked: dict[str, Any]
):
    assert unmask(type_, masked, target) == target


@CASES
def test_a_new_secret_replaces_the_stored_one(
    type_: type[Struct], target: dict[str, Any], masked: dict[str, Any]
):
    assert unmask(type_, target, masked) == target


def test_stars_stand_for_a_header_in_any_case():
    stored = {"url": "http://a/", "headers": {"X-API-Key": "k1"}}
    incoming = {"url": "http://a/", "headers": {"x-api-key": MASK}}

    assert unmask(HTTP, incoming, stored)["headers"] == {"x-api-key": "k1"}


@pytest.mark.parametrize(
    ("incoming", "field_"),
    [
        ({"headers": {"X-Token": MASK}}, "target.headers.X-Token"),
        ({"auth": {"type": "bearer", "token": MASK}}, "target.auth.token"),
        ({"auth": {"type": "header", "name": "X", "value": MASK}}, "target.auth.value"),
    ],
    ids=["header", "other auth", "one more auth"],
)
def test_stars_for_nothing_stored_are_refused_by_name(incoming: dict[str, Any], field_: str):
    with pytest.raises(InvalidInput) as refusal:
        unmask(HTTP, incoming, HTTP_TARGET)

    assert [error.field for error in refusal.value.errors] == [field_]


def test_a_secret_does_not_move_to_another_way_to_authenticate():
    """Both have a `secret` say; they are different ones."""
    stored = {"auth": {"type": "header", "name": "X", "value": "sesame"}}
    incoming = {"auth": {"type": "bearer", "value": MASK, "token": MASK}}

    with pytest.raises(InvalidInput):
        unmask(HTTP, incoming, stored)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://me:***@elsewhere:5672/%2F",
        "amqp://you:***@broker:5672/%2F",
        "amqp://me:***@broker:5672/other",
        "amqps://me:***@broker:5672/%2F",
    ],
    ids=["host", "user", "virtual host", "scheme"],
)
def test_a_password_does_not_move_to_another_url(url: str):
    with pytest.raises(InvalidInput) as refusal:
        unmask(AMQP, {"url": url}, AMQP_TARGET)

    assert refusal.value.errors[0].field == "target.url"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://host/vhost", "amqp://host/vhost"),
        ("amqp://me@host", "amqp://***@host"),
        ("amqp://me:p%40ss@host/v", "amqp://me:***@host/v"),
        ("amqp://me:p@ss:w/o#r?d@host/v", "amqp://me:***@host/v"),
        ("AMQPS://me:12/34@host", "AMQPS://me:***@host"),
        ("me:pass@host", "me:***@host"),
        ("//me:pass@host", "//me:***@host"),
        ("///me:pass@host", "///me:***@host"),
        (" https://me:pass@host", " https://me:***@host"),
        (" amqp://me:pa/ss@host", " amqp://me:***@host"),
        ("ht tp://me:pass@host", "ht tp://me:***@host"),
        ("://me:pass@host", "://me:***@host"),
        ("https:me:pass@host", "https:me:***@host"),
        ("https:/me:pass@host", "https:/me:***@host"),
        ("https://me:pass@host/x", "https://me:***@host/x"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://host:8080/@me:x@y", "https://host:8080/@me:x@y"),
        ("https://[::1]:8080/@me", "https://[::1]:8080/@me"),
    ],
)
def test_a_url_shows_no_password_however_it_is_written(url: str, masked: str):
    assert mask(AMQP, {"url": url}) == {"url": masked}


@pytest.mark.parametrize(
    ("target", "masked"),
    [
        ({"auth": "Bearer abc"}, {"auth": MASK}),
        ({"auth": ["abc"]}, {"auth": MASK}),
        ({"auth": {"type": "bearer", "tokn": "abc"}}, {"auth": {"type": "bearer", "tokn": MASK}}),
        ({"auth": {"type": "kerberos", "x": "abc"}}, {"auth": {"type": "kerberos", "x": MASK}}),
        ({"auth": {"password": {"a": "b"}}}, {"auth": {"password": MASK}}),
        ({"auth": {"type": ["abc"]}}, {"auth": {"type": MASK}}),
        ({"headers": "X-Token: abc"}, {"headers": MASK}),
        ({"heders": {"X": "abc"}}, {"heders": MASK}),
        ({"url": ["https://me:pass@host"]}, {"url": MASK}),
        ({"auth": None, "headers": {}}, {"auth": None, "headers": {}}),
    ],
)
def test_what_was_typed_wrongly_is_hidden_whole(target: dict[str, Any], masked: dict[str, Any]):
    assert mask(HTTP, target) == masked
    assert unmask(HTTP, masked, target) == target


def test_of_an_unknown_kind_everything_is_hidden():
    target = {"brokers": "b", "sasl": {"password": "sesame"}}

    masked = mask(None, target)

    assert masked == {"brokers": MASK, "sasl": MASK}
    assert unmask(None, masked, target) == target


def test_masking_does_not_change_its_argument():
    before = json.dumps(HTTP_TARGET)

    mask(HTTP, HTTP_TARGET)

    assert json.dumps(HTTP_TARGET) == before


class Opener(Masked, frozen=True, kw_only=True):
    door: str
    code: Secret
    url: Annotated[str, URL_SECRET] = "amqp://me:p%40ss@host"
    headers: Annotated[dict[str, Any], NAMED_SECRETS] = field(default_factory=dict)


def test_a_struct_with_secrets_can_be_printed():
    opener = Opener(door="front", code="sesame", headers={"X-Token": "t1"})

    assert repr(opener) == (
        "Opener(door='front', code='***', url='amqp://me:***@host', headers={'X-Token': '***'})"
    )
    assert "sesame" not in str(list(opener.__rich_repr__()))


def test_the_secrets_of_a_struct_are_known_as_written_and_as_meant():
    opener = Opener(door="front", code="sesame", headers={"X-Token": {"a": ["t1"]}})

    assert secrets_of(opener) == {"sesame", "t1", "p%40ss", "p@ss"}


def test_secrets_are_taken_out_of_texts_the_longest_first():
    assert redact({"open", "open sesame", "abc"}, "abc: open sesame, open") == "abc: ***, ***"


@pytest.mark.parametrize("name", ["Authorization", "Set-Cookie", "X-API-KEY", "x_auth", "My-Token"])
def test_names_of_secrets_are_known(name: str):
    assert sounds_secret(name)


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "X-Request-Id", "Prefer"])
def test_names_of_other_headers_are_left_alone(name: str):
    assert not sounds_secret(name)
