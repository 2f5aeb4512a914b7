"""What a client wrote becomes a target to store in one walk over it."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from app.core.secrets import places
from app.core.secrets.bindings import Destination
from app.core.secrets.masking import Secret, mask
from app.core.secrets.places import change_spots, spots_in
from app.errors import InvalidInput
from app.targets.base import Target, Where
from app.targets.registry import EXECUTORS, target_type
from app.vault import (
    Prepared,
    Referring,
    SecretKeys,
    check_target,
    decrypt_target,
    encrypt_target,
    prepare,
)
from tests.support.certificate import certificate

ID = UUID("01a20b8a-bff9-74d9-850d-71f7929b30ee")
KEYS = SecretKeys(["A" * 43])
HTTP = target_type("http")
TARGET: dict[str, Any] = {
    "url": "https://api.example.com/x",
    "headers": {"X-Key": "k", "X-Team": "billing", "X-Old": "${secret:OLD}"},
    "auth": {"type": "bearer", "token": "${secret:NEW}"},
    "json": {"n": [1, 2]},
}


def prepared(target: dict[str, Any], **options: Any) -> Prepared:  # noqa: ANN401
    made = prepare("http", target, KEYS, job_id=ID, **options)
    assert made is not None
    return made


def test_secrets_are_encrypted_and_everything_else_is_as_it_was_written() -> None:
    made = prepared(TARGET)

    assert made.stored["headers"] == TARGET["headers"] | {"X-Key": made.stored["headers"]["X-Key"]}
    assert made.stored["headers"]["X-Key"] != "k"
    assert list(made.stored) == list(TARGET)
    assert decrypt_target(HTTP, made.stored, KEYS, job_id=ID) == (TARGET, [])


def test_what_is_referred_to_is_found_with_the_hosts_it_would_be_sent_to() -> None:
    made = prepared(TARGET)

    assert made.referring == check_target("http", TARGET)
    assert made.referring == Referring(
        fields={"OLD": "target.headers.X-Old", "NEW": "target.auth.token"},
        places=frozenset({Destination("api.example.com", "https", 443)}),
    )
    assert prepared({"url": "http://x/"}).referring == Referring()


def test_stars_keep_the_secrets_that_are_stored() -> None:
    shown = mask(HTTP, TARGET) | {"method": "PUT"}

    made = prepared(shown, kept=TARGET)

    clear, _ = decrypt_target(HTTP, made.stored, KEYS, job_id=ID)
    assert clear == TARGET | {"method": "PUT"}


@pytest.mark.parametrize("target", [TARGET, {"n": 1}, {"url": "http://x/", "auth": {"type": "?"}}])
def test_the_target_that_is_stored_is_not_checked_again(target: dict[str, Any]) -> None:
    assert prepare("http", mask(HTTP, target), KEYS, job_id=ID, kept=target) is None


def test_a_token_that_does_not_open_here_is_refused_only_where_the_target_changes() -> None:
    elsewhere = encrypt_target(HTTP, TARGET, SecretKeys(["B" * 43]), job_id=ID)
    shown = mask(HTTP, elsewhere)

    assert prepare("http", shown, KEYS, job_id=ID, kept=elsewhere) is None
    with pytest.raises(InvalidInput) as refusal:
        prepare("http", shown | {"method": "PUT"}, KEYS, job_id=ID, kept=elsewhere)
    fields = [error.field for error in refusal.value.errors]
    assert fields == ["target.headers.X-Key"]


def test_a_new_target_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[object] = []
    walk = places.walk_struct

    def noted(fields: Any, value: Any, stored: Any, path: Any, found: Any) -> None:  # noqa: ANN401
        if not path:
            walks.append(value)
        walk(fields, value, stored, path, found)

    monkeypatch.setattr(places, "walk_struct", noted)
    prepare("http", TARGET, KEYS, job_id=ID)

    assert walks == [TARGET]


def test_what_does_not_change_is_shared_and_nothing_is_changed_in_place() -> None:
    target = {"url": "http://x/", "headers": {"a": {"Token": [1]}, "b": ["x", {"Key": "y"}]}}
    before = repr(target)
    spots = spots_in(HTTP, target)

    changed = change_spots(target, spots, lambda spot: "z" if spot.value == "y" else spot.value)

    assert change_spots(target, spots, lambda spot: spot.value) is target
    assert changed == {
        "url": "http://x/",
        "headers": {"a": {"Token": [1]}, "b": ["x", {"Key": "z"}]},
    }
    assert changed["headers"]["a"] is target["headers"]["a"]  # type: ignore[index]
    assert repr(target) == before
    assert [spot.field for spot in spots] == [
        "target.url",
        "target.headers.a.Token",
        "target.headers.b[0]",
        "target.headers.b[1].Key",
    ]


OAUTH = {
    "type": "oauth2",
    "token_url": "https://id.example.com/token",
    "client_id": "me",
    "client_secret": "sesame",
}
KEPT: dict[str, dict[str, Any]] = {
    "http": {
        "url": "https://api.example.com/x",
        "headers": {"X-Key": "k", "X-Old": "${secret:OLD}"},
        "auth": OAUTH,
    },
    "smtp": {
        "url": "smtp://post.example",
        "from": "a@a.example",
        "to": ["b@b.example"],
        "subject": "s",
        "text": "t",
        "username": "u",
        "password": "sesame",
    },
}
X_KEY, SECRET = "target.headers.X-Key", "target.auth.client_secret"


@pytest.mark.parametrize(
    ("kind", "change", "refused"),
    [
        ("http", {"url": "https://evil.example/x"}, {X_KEY, SECRET}),
        ("http", {"url": "http://api.example.com/x"}, {X_KEY, SECRET}),
        ("http", {"url": "https://api.example.com:8443/x"}, {X_KEY, SECRET}),
        ("http", {"url": "https://api.example.com.evil.example/x"}, {X_KEY, SECRET}),
        ("http", {"url": "https://API.example.com.:443/y?z=1"}, set()),
        ("http", {"auth": OAUTH | {"client_secret": "***", "scope": "a"}}, set()),
        (
            "http",
            {"auth": OAUTH | {"client_secret": "***", "token_url": "https://evil.example/"}},
            {SECRET},
        ),
        ("http", {"auth": OAUTH | {"token_url": "https://evil.example/"}}, set()),
        (
            "http",
            {
                "url": "https://id.example.com/x",
                "auth": OAUTH | {"client_secret": "***", "token_url": "https://api.example.com/"},
            },
            {X_KEY, SECRET},
        ),
        ("http", {"url": "https://id.example.com/x", "auth": OAUTH}, {X_KEY}),
        ("http", {"url": "https://evil.example/x", "auth": OAUTH}, {X_KEY}),
        ("http", {"url": "https://evil.example/x", "auth": None, "headers": {"X-Key": "k"}}, set()),
        ("http", {"verify_tls": False}, {X_KEY, SECRET}),
        ("http", {"ca": certificate(1)["client_certificate"]}, {X_KEY, SECRET}),
        (
            "http",
            {"auth": OAUTH | {"client_secret": "***", "ca": certificate(1)["client_certificate"]}},
            {SECRET},
        ),
        ("http", {"verify_tls": True, "ca": None}, set()),
        ("http", {"verify_tls": False, "headers": {"X-Key": "k"}, "auth": OAUTH}, set()),
        ("smtp", {"verify_tls": False}, {"target.password"}),
        ("smtp", {"ca": certificate(1)["client_certificate"]}, {"target.password"}),
        ("smtp", {"url": "smtp://evil.example"}, {"target.password"}),
        ("smtp", {"url": "smtp://evil.example", "password": "new"}, set()),
    ],
)
def test_secrets_that_are_kept_are_sent_nowhere_else(
    kind: str, change: dict[str, Any], refused: set[str]
) -> None:
    kept = KEPT[kind]
    target = mask(target_type(kind), kept) | change

    if refused:
        with pytest.raises(InvalidInput, match="write the secret out again") as refusal:
            prepare(kind, target, KEYS, job_id=ID, kept=kept)
        assert {one.field for one in refusal.value.errors} == refused
    else:
        assert prepare(kind, target, KEYS, job_id=ID, kept=kept) is not None


SIGNED = {"type": "signature", "secret": "whsec_" + "A" * 43 + "="}
CA, OTHER_CA = (certificate(number)["client_certificate"] for number in (1, 2))
SMTP_IN_CLEAR = {name: KEPT["smtp"][name] for name in ("url", "from", "to", "subject", "text")} | {
    "starttls": False,
    "headers": {"X-Key": "k"},
}


@pytest.mark.parametrize(
    ("kind", "stored", "change", "refused"),
    [
        ("http", {"url": "http://a.example/", "headers": {"X-Key": "k"}}, {"ca": CA}, set()),
        (
            "http",
            {"url": "http://a.example/", "auth": OAUTH},
            {"verify_tls": False, "url": "HTTP://a.example/"},
            set(),
        ),
        (
            "http",
            {"url": "http://a.example/", "auth": OAUTH},
            {"auth": OAUTH | {"client_secret": "***", "ca": CA}},
            {SECRET},
        ),
        ("smtp", KEPT["smtp"] | {"url": "smtps://post.example"}, {"starttls": False}, set()),
        (
            "smtp",
            KEPT["smtp"] | {"url": "smtps://post.example"},
            {"starttls": False, "verify_tls": False},
            {"target.password"},
        ),
        ("smtp", SMTP_IN_CLEAR, {"verify_tls": False}, set()),
        ("smtp", SMTP_IN_CLEAR, {"verify_tls": False, "starttls": True}, set()),
        ("smtp", SMTP_IN_CLEAR | {"starttls": True}, {"starttls": False}, {X_KEY}),
        ("http", KEPT["http"] | {"ca": f"{CA}\n"}, {"ca": CA.strip()}, set()),
        ("http", KEPT["http"] | {"ca": CA.replace("\n", "\r\n")}, {"ca": CA}, set()),
        ("http", KEPT["http"] | {"ca": CA}, {"ca": CA + OTHER_CA}, {X_KEY, SECRET}),
        (
            "http",
            {"url": "https://a.example/", "auth": SIGNED} | certificate(1),
            {"verify_tls": False},
            set(),
        ),
        (
            "http",
            {"url": "https://a.example/", "headers": {"client_key": "k"}} | certificate(1),
            {"verify_tls": False},
            {"target.headers.client_key"},
        ),
        (
            "http",
            {"url": "https://a.example/", "auth": SIGNED},
            {"url": "https://b.example/"},
            {"target.auth.secret"},
        ),
    ],
)
def test_a_server_that_is_verified_less_matters_where_it_is_verified_and_is_sent_the_secret(
    kind: str, stored: dict[str, Any], change: dict[str, Any], refused: set[str]
) -> None:
    target = mask(target_type(kind), stored) | change

    assert fields_refused(kind, target, kept=stored) == refused


class SecureTarget(Target, frozen=True, kw_only=True):
    there: str
    client_key: Secret
    verify_tls: bool = True
    starttls: bool = True


class SecureWhere(Where, frozen=True):
    there: str = ""

    def addresses(self) -> Iterable[object]:
        return ("http://a.example:80", self.there)


@pytest.mark.parametrize(
    ("there", "change", "is_refused"),
    [
        ("pigeons://b:7", {"verify_tls": False}, True),
        ("pigeons://b:7", {"starttls": False}, True),
        ("https://b", {"verify_tls": False}, True),
        ("https://b", {"starttls": False}, False),
        ("http://b", {"verify_tls": False}, False),
    ],
)
def test_a_kind_of_others_that_has_our_fields_is_judged_by_each_of_its_servers(
    monkeypatch: pytest.MonkeyPatch, there: str, change: dict[str, bool], *, is_refused: bool
) -> None:
    """Its `client_key` may be whatever it likes, and is taken for sent."""
    secure = SimpleNamespace(target_type=SecureTarget, where_type=SecureWhere)
    monkeypatch.setitem(EXECUTORS, "secure", cast("Any", secure))
    kept = {"there": there, "client_key": "sesame"}

    refused = fields_refused("secure", kept | {"client_key": "***"} | change, kept=kept)

    assert refused == ({"target.client_key"} if is_refused else set())


def fields_refused(kind: str, target: dict[str, Any], *, kept: dict[str, Any]) -> set[str]:
    try:
        prepare(kind, target, KEYS, job_id=ID, kept=kept)
    except InvalidInput as refusal:
        return {one.field for one in refusal.errors}
    return set()


def test_what_is_no_part_of_a_request_for_a_token_goes_by_the_url_alone() -> None:
    kept = {"url": "https://api.example.com/x", "headers": {"X-Key": "k"}}
    adding = {"url": "https://api.example.com/x", "headers": {"X-Key": "***"}, "auth": OAUTH}

    assert prepare("http", adding, KEYS, job_id=ID, kept=kept) is not None
    assert prepare("http", kept, KEYS, job_id=ID, kept=kept | {"auth": OAUTH}) is not None


class PairTarget(Target, frozen=True, kw_only=True):
    here: str
    there: str
    note: Secret = ""


class PairWhere(Where, frozen=True):
    here: str = ""
    there: str = ""

    def addresses(self) -> Iterable[object]:
        if self.there == "nowhere":
            raise ValueError(self.there)
        return (self.here, self.there)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"here": "pigeon://b:7", "there": "pigeon://a:7"}, None),
        ({"here": "pigeon://a:7/loft"}, None),
        ({"there": "pigeon://c:7"}, "pigeon://c:7: it was given for pigeon://a:7, pigeon://b:7"),
        ({"there": "pigeon://c:7", "note": "new"}, None),
        ({"there": "pigeon://[:7"}, "an unknown host"),
        ({"there": "nowhere"}, "an unknown host"),
    ],
)
def test_a_kind_that_does_not_say_for_which_servers_a_secret_is_means_all(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str | None
) -> None:
    pair = SimpleNamespace(target_type=PairTarget, where_type=PairWhere)
    monkeypatch.setitem(EXECUTORS, "pair", cast("Any", pair))
    kept = {"here": "pigeon://a:7", "there": "pigeon://b:7", "note": "sesame"}
    target = kept | {"note": "***"} | change

    if message is None:
        assert prepare("pair", target, KEYS, job_id=ID, kept=kept) is not None
    else:
        with pytest.raises(InvalidInput, match=message):
            prepare("pair", target, KEYS, job_id=ID, kept=kept)


def test_what_a_merge_patch_leaves_as_it_is_counts_as_kept() -> None:
    patch = {"url": "https://evil.example/x", "headers": {"X-Key": "k"}}

    with pytest.raises(InvalidInput, match="write the secret out again") as refusal:
        prepared(KEPT["http"] | patch, kept=KEPT["http"], written=lambda masked: masked | patch)

    assert [one.field for one in refusal.value.errors] == [SECRET]
