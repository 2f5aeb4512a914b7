"""Targets: what is taken, and what is refused by name and with a remedy."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from yarl import URL

from app.core.field_errors import Location, type_errors
from app.core.field_paths import joined
from app.core.net.urls import host_of
from app.errors import FieldError, InvalidInput
from app.targets.amqp.executor import AmqpTarget
from app.targets.base import Context, named
from app.targets.http.target import HttpTarget
from app.targets.registry import KINDS, decode_target, target_type
from app.vault import check_target

HTTP: dict[str, Any] = {"url": "https://example.com/report"}
TARGETS_PAGE = Path(__file__).parents[2] / "docs" / "targets.md"
MAIL_PAGE = TARGETS_PAGE.with_name("mail.md")

AMQP: dict[str, Any] = {"url": "amqp://broker/", "routing_key": "q"}


def refused(kind: str, target: dict[str, Any] | bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refusal:
        decode_target(kind, target)
    return [(error.field, error.message) for error in refusal.value.errors]


def test_the_kinds_are_found():
    assert KINDS == ("amqp", "check", "http", "smtp")


def test_an_unknown_kind_is_refused_with_those_there_are():
    assert refused("fax", {}) == [
        ("kind", "'fax' is not known: write one of amqp, check, http, smtp")
    ]


def test_an_http_target_needs_no_more_than_a_url():
    target = decode_target("http", HTTP)

    assert target == HttpTarget(
        url="https://example.com/report",
        method="POST",
        headers={},
        auth=None,
        success=("2xx",),
        retry_on=(408, 425, 429, "5xx", "dns", "connect", "tls", "timeout", "closed", "protocol"),
        follow_redirects=False,
        verify_tls=True,
    )


def test_an_amqp_target_is_persistent_and_mandatory():
    target = decode_target("amqp", AMQP)

    assert target == AmqpTarget(
        url="amqp://broker/", exchange="", routing_key="q", persistent=True, mandatory=True
    )


def test_a_target_is_read_from_json_text():
    assert decode_target("http", json.dumps(HTTP).encode()) == decode_target("http", HTTP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "must be JSON that can be read: Input data was truncated"),
        (b'{"url": "\xff"}', "must be JSON that can be read: "),
        (b"[]", "must be an object, not an array"),
        (b'{"json": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "must be JSON that can be read: "),
    ],
    ids=["empty", "not utf-8", "no object", "bottomless"],
)
def test_what_is_no_json_object_is_refused(text: bytes, message: str):
    [(field, said)] = refused("http", text)

    assert field == "target"
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("target", "field", "message"),
    [
        ({"url": None}, "target.url", "must be a string, not null"),
        ({"url": "http://" + "a" * 2048}, "target.url", "must be a string of length <= 2048"),
        ({"metod": "GET"}, "target.metod", "unknown field: did you mean method?"),
        ({"zzz": 1}, "target.zzz", "unknown field: there are body, json, body_base64, json_secr"),
        ({"headers": {"X": 1}}, "target.headers", "must be a string, not an integer"),
        ({"success": [99]}, "target.success[0]", "must be an integer >= 100"),
        ({"verify_tls": "no"}, "target.verify_tls", "must be true or false, not a string"),
        ({"auth": {"token": "x"}}, "target.auth.type", "is required"),
        ({"auth": {"type": "bearer"}}, "target.auth.token", "is required"),
        (
            {"auth": {"type": "magic"}},
            "target.auth.type",
            "'magic' is not known: write one of basic, bearer, header",
        ),
        (
            {"auth": {"type": "bearer", "token": "x", "user": "y"}},
            "target.auth.user",
            "unknown field: there are token, type",
        ),
        (
            {"auth": {"type": "basic", "username": "x", "pasword": "y"}},
            "target.auth.pasword",
            "unknown field: did you mean password?",
        ),
        ({"a.b[c": 1}, 'target["a.b[c"]', "unknown field: "),
        ({"auth": "Bearer x"}, "target.auth", "must be an object or null, not a string"),
        (
            {"method": "BREW"},
            "target.method",
            "must be one of GET, HEAD, POST, PUT, PATCH, DELETE,",
        ),
        ({"body": "x", "json": 1}, "target.json", "leave out all but one of body, json"),
        ({"body_base64": "not base64!"}, "target.body_base64", "cannot be sent: it is not base64"),
        ({"json": json.loads("[" * 65 + "]" * 65)}, "target.json", "is nested more than 64 deep"),
        ({"body_base64": "YQ"}, "target.body_base64", "cannot be sent: it is not base64"),
    ],
)
def test_a_wrong_field_of_an_http_target_is_named(target: dict[str, Any], field: str, message: str):
    [(named, said)] = refused("http", HTTP | target)

    assert named == field
    assert said.startswith(message)


def test_a_missing_url_is_named():
    assert refused("http", {}) == [("target.url", "is required")]
    assert refused("amqp", {}) == [("target.url", "is required")]


def test_all_that_is_wrong_is_said_at_once():
    target = {
        "url": "ftp://example.com",
        "method": "BREW",
        "headers": {"Host": "x"},
        "auth": {"type": "basic", "username": "a:b", "password": "x"},
    }

    fields = [field for field, _ in refused("http", target)]

    assert fields == [
        "target.url",
        "target.method",
        "target.headers.Host",
        "target.auth.username",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/x",
        "HTTPS://Example.com",
        "https://example.com/a%20b?c=d&e=%C3%A9#".removesuffix("#"),
        "http://[2001:db8::1]:8080/",
        "http://xn--bcher-kva.example/",
        "http://my_service.internal./",
        "https://example.com/!$&'()*+,;=:@~-._/[]?a[]=1",
    ],
)
def test_a_usable_url_is_taken(url: str):
    assert isinstance(decode_target("http", {"url": url}), HttpTarget)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/report",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://me:secret@example.com/",
        "http://me@example.com/",
        "http://evil.example\\@example.com/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: evil",
        " http://example.com/",
        "\thttp://example.com/",
        "http://ex\tample.com/",
        "http://example.com/\0",
        "http://bücher.example/",
        "http://127。0。0。1/",
        "http://example.com/#part",
        "http://a..b/",
        "http://-a.example/",
        "http://" + "a" * 64 + ".example/",
        "http://[::1",
        "http://example.com/{id}",
        "http://exa%6dple.com/",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str):
    assert refused("http", {"url": url})[0][0] == "target.url"


def test_a_url_with_a_password_is_refused_with_the_remedy_and_without_the_password():
    [(_, message)] = refused("http", {"url": "http://me:sesame@example.com/"})

    assert '"type": "basic"' in message
    assert "sesame" not in message


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"": "x"}, 'target.headers[""]'),
        ({"X A": "x"}, "target.headers.X A"),
        ({"X\r\nEvil": "x"}, "target.headers.X\r\nEvil"),
        ({"Ü": "x"}, "target.headers.Ü"),
        ({"X": "a\r\nEvil: b"}, "target.headers.X"),
        ({"X": "a\0"}, "target.headers.X"),
        ({"X": "é"}, "target.headers.X"),
        ({"X": "1", "x": "2"}, "target.headers.x"),
        *(
            ({name: "x"}, f"target.headers.{name}")
            for name in (
                *("Host", "CONTENT-LENGTH", "transfer-encoding", "Connection", "Keep-Alive"),
                *("TE", "Trailer", "Upgrade", "Expect", "Proxy-Authorization"),
                *("Idempotency-Key", "traceparent", "Tocsin-Job-Id", "tocsin-anything"),
            )
        ),
        *(
            ({name: "x"}, f"target.headers.{name}")
            for name in (
                *("Content_Length", "TRANSFER_ENCODING", "Keep_Alive", "proxy_authorization"),
                *("Idempotency_Key", "Tocsin_Job_Id", "tocsin_anything", "Tocsin-Job_Id"),
                *("Content_Type", "user_agent", "Accept_Encoding"),
                *("Transfer~Encoding", "Content^Type"),
            )
        ),
        ({"Content.Length": "x"}, 'target.headers["Content.Length"]'),
        ({"Tocsin.Attempt": "x"}, 'target.headers["Tocsin.Attempt"]'),
        ({"X-Team": "1", "X_Team": "2"}, "target.headers.X_Team"),
        ({"X_Team": "1", "x.team": "2"}, 'target.headers["x.team"]'),
        ({f"X-{n}": "x" for n in range(101)}, "target.headers"),
        ({"X": "x" * 16_384}, "target.headers"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(headers: dict[str, str], field: str):
    [(named, _)] = refused("http", HTTP | {"headers": headers})

    assert named == field


@pytest.mark.parametrize("name", ["api_key", "X_API_KEY", "X-Api_Key", "accept_language"])
def test_a_name_with_an_underscore_that_stands_for_no_header_of_ours_is_accepted(name: str):
    decode_target("http", HTTP | {"headers": {name: "x"}})
    decode_target("http", HTTP | {"auth": {"type": "header", "name": name, "value": "x"}})


def test_a_name_that_many_servers_read_as_another_is_refused_with_the_remedy():
    [(_, ours)] = refused("http", HTTP | {"headers": {"Content_Length": "0"}})
    [(_, default)] = refused("http", HTTP | {"headers": {"content_type": "text/csv"}})

    assert ours == (
        "is read as content-length by many servers, which belongs to the connection and is set "
        "for you: remove it"
    )
    assert default == (
        "is read as content-type by many servers, which is sent as well: write Content-Type"
    )


@pytest.mark.parametrize("name", ["X-Api_Key", "x.api.key"])
def test_a_header_that_many_servers_take_for_the_one_of_auth_may_not_be_beside_it(name: str):
    auth = {"type": "header", "name": "X_Api-Key", "value": "y"}

    refusals = refused("http", HTTP | {"headers": {name: "x"}, "auth": auth})

    assert refusals == [(joined("target.headers", name), "is set by auth: remove one")]


def test_a_header_that_auth_sets_may_not_be_set_beside_it():
    target = HTTP | {
        "headers": {"authorization": "Basic x"},
        "auth": {"type": "bearer", "token": "y"},
    }

    assert refused("http", target) == [
        ("target.headers.authorization", "is set by auth: remove one")
    ]


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        ({"type": "bearer", "token": ""}, "target.auth.token"),
        ({"type": "bearer", "token": "a b"}, "target.auth.token"),
        ({"type": "bearer", "token": "a\n"}, "target.auth.token"),
        ({"type": "header", "name": "Host", "value": "x"}, "target.auth.name"),
        ({"type": "header", "name": "Tocsin_Key", "value": "x"}, "target.auth.name"),
        ({"type": "header", "name": "X-Key", "value": "a\r\nb"}, "target.auth.value"),
    ],
)
def test_what_cannot_authenticate_is_refused(auth: dict[str, str], field: str):
    [(named, _)] = refused("http", HTTP | {"auth": auth})

    assert named == field


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ({"routing_key": ""}, "target.routing_key"),
        ({"routing_key": "x" * 256}, "target.routing_key"),
        ({"exchange": "é" * 128}, "target.exchange"),
        ({"correlation_id": "x" * 256}, "target.correlation_id"),
        ({"reply_to": "x" * 256}, "target.reply_to"),
        ({"type": "x" * 256}, "target.type"),
        ({"content_type": "x" * 256}, "target.content_type"),
        ({"priority": 256}, "target.priority"),
        ({"priority": -1}, "target.priority"),
        ({"expiration_seconds": -0.1}, "target.expiration_seconds"),
        ({"expiration_seconds": 5e6}, "target.expiration_seconds"),
        ({"headers": {"x": 2**63}}, "target.headers"),
        ({"headers": {"x": {"y": [0.1]}}}, "target.headers"),
        ({"headers": {"x": 1e300}}, "target.headers"),
        ({"headers": {"x" * 129: 1}}, "target.headers"),
        ({"headers": {"x": {"": 1}}}, "target.headers"),
        ({"headers": {"x": "y" * 16_384}}, "target.headers"),
        ({"headers": {"x": json.loads("[" * 50 + "]" * 50)}}, "target.headers"),
        ({"headers": {"Traceparent": "x"}}, "target.headers"),
        ({"headers": {"tocsin-attempt": 1}}, "target.headers"),
        ({"body": "x", "body_base64": "eA=="}, "target.body_base64"),
        ({"url": "http://broker/"}, "target.url"),
        ({"url": "amqp:///"}, "target.url"),
        ({"url": "amqp://127.1/"}, "target.url"),
        ({"url": "amqp://0x7f.0.0.1/"}, "target.url"),
        ({"url": "amqp://2130706433/"}, "target.url"),
        ({"url": "amqp://br%6Fker/"}, "target.url"),
        ({"url": "amqp://broker../"}, "target.url"),
        ({"url": "amqp://-broker-/"}, "target.url"),
        ({"url": "amqp://broker:0/"}, "target.url"),
        ({"url": "amqp://broker:x/"}, "target.url"),
        ({"url": "amqp://broker/a/b"}, "target.url"),
        ({"url": "amqp://broker/?heartbeat=5"}, "target.url"),
        ({"url": "amqps://broker/?no_verify_ssl=1"}, "target.url"),
        ({"url": "amqp://me:a#b@broker/"}, "target.url"),
        ({"url": "amqp://me:a b@broker/"}, "target.url"),
        ({"url": "amqp://me:ü@broker/"}, "target.url"),
    ],
)
def test_a_wrong_field_of_an_amqp_target_is_named(target: dict[str, Any], field: str):
    problems = refused("amqp", AMQP | target)

    assert {named for named, _ in problems} == {field}


def test_json_may_be_nested_as_deep_as_the_limit():
    deep = json.loads("[" * 32 + '{"a":' * 32 + "1" + "}" * 32 + "]" * 32)

    assert isinstance(decode_target("http", HTTP | {"json": deep}), HttpTarget)


@pytest.mark.parametrize(
    "target",
    [
        {"exchange": "logs", "routing_key": ""},
        {"url": "amqps://me:p%40ss%2Fword@broker.example:5671/%2Fvhost"},
        {"url": "amqp://[::1]/"},
        {"headers": {"x": [1, -(2**63), 2**63 - 1, 0.5, True, None, "é", {"y": []}]}},
        {"priority": 0, "expiration_seconds": 0},
    ],
)
def test_an_unusual_amqp_target_is_taken(target: dict[str, Any]):
    assert isinstance(decode_target("amqp", AMQP | target), AmqpTarget)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_describes_its_targets_for_the_api(kind: str):
    schema = json.dumps(msgspec.json.schema(target_type(kind)))

    assert ('"grace_seconds"' if kind == "check" else '"url"') in schema


def test_a_target_can_be_printed_without_its_secrets():
    target = decode_target("http", HTTP | {"auth": {"type": "bearer", "token": "sesame"}})

    assert "sesame" not in repr(target)
    assert "'token': '***'" in repr(target)


def context(scheduled_for: datetime) -> Context:
    return Context(
        job_id=UUID("0193ab7e-0000-7000-8000-000000000001"),
        job_name=None,
        execution_id=1,
        run=named(scheduled_for),
        attempt=1,
        timeout_seconds=1,
        traceparent="",
    )


@pytest.mark.parametrize(
    ("scheduled_for", "run"),
    [
        (datetime(2026, 11, 24, 3, tzinfo=UTC), "2026-11-24T03:00:00Z"),
        (datetime(2026, 11, 24, 3, 0, 0, 250, tzinfo=UTC), "2026-11-24T03:00:00.000250Z"),
        (datetime(2026, 11, 24, 3, tzinfo=timezone(timedelta(hours=1))), "2026-11-24T02:00:00Z"),
    ],
)
def test_a_run_has_one_key_whatever_zone_it_is_told_in(scheduled_for: datetime, run: str):
    key = context(scheduled_for).idempotency_key

    assert key == f"0193ab7e-0000-7000-8000-000000000001:{run}"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: int
    sort: msgspec.Raw | None = None


class Outer(msgspec.Struct):
    items: list[Inner]
    names: dict[int, str] = {}
    size: Literal["S", "M"] = "M"
    owner: UUID | None = None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b'{"items": [{}]}', ("jobs.items[0].count", "is required")),
        (b'{"items": {}}', ("jobs.items", "must be an array, not an object")),
        (b"7", ("jobs", "must be an object, not an integer")),
        (b'{"items": [], "names": {"x": "y"}}', ("jobs.names", "must be an integer, not a string")),
        (b'{"items": [], "size": "XXL"}', ("jobs.size", "'XXL' is not an allowed value")),
        (b'{"items": [], "owner": "me"}', ("jobs.owner", "invalid UUID")),
    ],
)
def test_a_validation_error_names_the_field_in_json_notation(text: bytes, error: tuple[str, str]):
    with pytest.raises(msgspec.ValidationError) as refusal:
        msgspec.json.decode(text, type=Outer)

    [problem] = type_errors(refusal.value, Outer, text, Location(top="jobs"))

    assert (problem.field, problem.message) == error


def test_without_a_prefix_a_field_is_named_from_the_top():
    said = msgspec.ValidationError("Expected `int`, got `str` - at `$[3].x`")

    problems = type_errors(said, Any, b"[]", Location())

    assert problems == [FieldError(field="[3].x", message="must be an integer, not a string")]


EXAMPLES = re.findall(r"```json\n(.*?)```", TARGETS_PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_users_page_are_taken(text: str):
    example = json.loads(text)

    check_target(example["kind"], example["target"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_page_names_every_field(kind: str):
    page = {"smtp": MAIL_PAGE}.get(kind, TARGETS_PAGE).read_text()

    for field in msgspec.structs.fields(target_type(kind)):
        assert f"`{field.encode_name}`" in page


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("amqp://xn--n3h.example/", "xn--n3h.example"),
        ("amqp://XN--strae-oqa.example/", "xn--strae-oqa.example"),
        ("https://xn--strae-oqa.example/", "xn--strae-oqa.example"),
        ("amqp://[fe80::1%25eth0]/", "fe80::1%eth0"),
    ],
)
def test_a_host_is_judged_and_connected_to_as_it_is_written(url: str, host: str) -> None:
    assert host_of(URL(url)) == host
