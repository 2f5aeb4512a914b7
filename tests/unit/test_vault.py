"""Secrets at rest: what is encrypted, what opens it, and what it says when nothing does."""

import asyncio
import json
import ssl
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from msgspec import Struct
from msgspec.structs import replace

from app.core.secrets.masking import MASK, mask, redact, secrets_of
from app.core.secrets.places import Part
from app.core.secrets.references import (
    MAX_REFERENCES,
    MAX_STORED_REFERENCES,
    filled_url,
    is_reference,
    names_in,
    with_values,
)
from app.db import secrets
from app.db.database import Row, Runner
from app.db.secrets import StoredSecret
from app.errors import InvalidInput, SecretKeysMissing
from app.scheduler.held_claim import HeldClaim
from app.targets import tls_target
from app.targets.net import tls
from app.targets.registry import decode_target, target_type
from app.targets.tls_target import brings_certificates
from app.targets.turns import LARGE, Turns
from app.vault import (
    SecretKeys,
    Targets,
    check_stored,
    check_target,
    decrypt_target,
    encrypt_target,
    prepare,
    reencrypt_target,
)
from app.vault.keys import PREFIX, NotDecrypted, is_token, of_job, of_secret
from app.vault.named import FRESH_SECONDS, Known, NamedSecrets, SecretUnusable
from tests.support.certificate import certificate
from tests.support.claims import some_claim
from tests.support.ticks import Ticks
from tests.unit.test_masking import AMQP_MASKED, AMQP_TARGET, HTTP_MASKED, HTTP_TARGET

HTTP = target_type("http")
AMQP = target_type("amqp")
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
KEYS = SecretKeys([NEW, OLD])
JOB, ANOTHER_JOB = UUID(int=1), UUID(int=2)
HERE = of_secret("TOKEN")

TARGETS = pytest.mark.parametrize(
    ("type_", "target", "masked"),
    [(HTTP, HTTP_TARGET, HTTP_MASKED), (AMQP, AMQP_TARGET, AMQP_MASKED)],
    ids=["http", "amqp"],
)


@TARGETS
def test_no_secret_of_a_sealed_target_is_in_clear(
    type_: type[Struct], target: dict[str, Any], masked: dict[str, Any]
) -> None:
    text = str(encrypt_target(type_, target, KEYS, job_id=JOB))

    assert "sesame" not in text
    assert "'k1'" not in text
    assert PREFIX in text


@TARGETS
def test_a_sealed_target_opens_to_what_it_was_and_reads_as_before(
    type_: type[Struct], target: dict[str, Any], masked: dict[str, Any]
) -> None:
    at_rest = encrypt_target(type_, target, KEYS, job_id=JOB)

    assert decrypt_target(type_, at_rest, KEYS, job_id=JOB) == (target, [])
    assert mask(type_, at_rest) == masked


def test_what_is_no_secret_is_at_rest_as_it_was() -> None:
    at_rest = encrypt_target(HTTP, HTTP_TARGET, KEYS, job_id=JOB)

    assert at_rest["url"] == HTTP_TARGET["url"]
    assert at_rest["headers"]["Accept"] == "text/plain"
    assert at_rest["json"] == HTTP_TARGET["json"]


def test_without_keys_everything_stays_as_it_is() -> None:
    assert encrypt_target(HTTP, HTTP_TARGET, SecretKeys(), job_id=JOB) == HTTP_TARGET


def test_sealing_twice_encrypts_once() -> None:
    once = encrypt_target(AMQP, AMQP_TARGET, KEYS, job_id=JOB)

    assert encrypt_target(AMQP, once, KEYS, job_id=JOB) == once


def test_a_url_keeps_its_shape_when_its_password_is_sealed() -> None:
    at_rest = encrypt_target(AMQP, AMQP_TARGET, KEYS, job_id=JOB)["url"]

    assert at_rest.startswith(f"amqp://me:{PREFIX}")
    assert at_rest.endswith("@broker:5672/%2F")
    assert decode_target("amqp", {"url": at_rest, "routing_key": "q"})


def test_a_url_with_a_token_for_a_user_is_sealed_too() -> None:
    target = {"url": "amqp://sesame@broker/", "routing_key": "q"}

    at_rest = encrypt_target(AMQP, target, KEYS, job_id=JOB)

    assert "sesame" not in at_rest["url"]
    assert mask(AMQP, at_rest)["url"] == f"amqp://{MASK}@broker/"
    assert decrypt_target(AMQP, at_rest, KEYS, job_id=JOB) == (target, [])


def test_any_key_opens_and_the_first_one_seals() -> None:
    old = SecretKeys([OLD]).encrypt("sesame", HERE)

    assert KEYS.decrypt(old, HERE) == "sesame"
    assert not KEYS.is_current(old)
    assert KEYS.is_current(KEYS.encrypt("sesame", HERE))


def test_a_key_may_be_written_as_base64_writes_it() -> None:
    standard = NEW.translate(str.maketrans("-_", "+/"))

    assert (
        SecretKeys([standard.rstrip("=")]).decrypt(KEYS.encrypt("sesame", HERE), HERE) == "sesame"
    )


@pytest.mark.parametrize("keys", [SecretKeys(), SecretKeys([OTHER])], ids=["none", "another"])
def test_what_no_key_opens_is_named_and_left(keys: SecretKeys) -> None:
    at_rest = encrypt_target(HTTP, HTTP_TARGET, KEYS, job_id=JOB)

    target, unopened = decrypt_target(HTTP, at_rest, keys, job_id=JOB)

    assert target == at_rest
    assert [one.field for one in unopened] == [
        "target.headers.X-Api-Key",
        "target.headers.Cookie",
        "target.auth.password",
    ]


def test_a_token_that_was_changed_does_not_open() -> None:
    token = KEYS.encrypt("sesame", HERE)

    with pytest.raises(NotDecrypted, match="another job, field or name, or changed"):
        KEYS.decrypt(f"{token[:-5]}AAAA=", HERE)


@pytest.mark.parametrize(
    ("made", "pasted"),
    [
        (of_secret("TOKEN"), of_secret("token")),
        (of_secret("TOKEN"), of_job(JOB, "target.auth.token")),
        (of_job(JOB, "target.auth.token"), of_secret("TOKEN")),
        (of_job(JOB, "target.auth.token"), of_job(ANOTHER_JOB, "target.auth.token")),
        (of_job(JOB, "target.auth.token"), of_job(JOB, "target.auth.client_secret")),
        (of_job(JOB, "target.url"), of_job(JOB, "target.headers.X-Key")),
        (of_job(JOB, "target.headers.X-Key"), of_job(JOB, "target.headers.X-Other-Key")),
    ],
)
@pytest.mark.parametrize("key", [NEW, OLD], ids=["first key", "second key"])
def test_a_token_opens_only_where_it_was_made(made: str, pasted: str, key: str) -> None:
    token = SecretKeys([key]).encrypt("sesame", made)

    with pytest.raises(NotDecrypted, match="encrypted for another job, field or name"):
        KEYS.decrypt(token, pasted)
    assert KEYS.decrypt(token, made) == "sesame"


def test_a_header_written_in_another_case_is_the_same_place() -> None:
    token = KEYS.encrypt("sesame", of_job(JOB, "target.headers.X-Key"))

    assert KEYS.decrypt(token, of_job(JOB, "target.headers.x-key")) == "sesame"


def test_a_field_that_came_from_another_job_is_named_and_left_and_the_others_open() -> None:
    theirs = encrypt_target(HTTP, HTTP_TARGET, KEYS, job_id=ANOTHER_JOB)
    ours = encrypt_target(HTTP, HTTP_TARGET, KEYS, job_id=JOB)
    mixed = ours | {"auth": theirs["auth"]}

    target, unopened = decrypt_target(HTTP, mixed, KEYS, job_id=JOB)

    assert target == HTTP_TARGET | {"auth": theirs["auth"]}
    assert [one.field for one in unopened] == ["target.auth.password"]


UNBOUND = "encrypted.v1." + Fernet(NEW).encrypt(b'"sesame"').decode()


def test_what_development_versions_encrypted_opens_nowhere_until_it_is_bound() -> None:
    target = {"url": "https://example.com/", "headers": {"X-Key": UNBOUND}}

    with pytest.raises(NotDecrypted, match="tocsin secrets rotate --unbound"):
        KEYS.decrypt(UNBOUND, HERE)
    unasked, unopened = reencrypt_target(HTTP, target, KEYS, job_id=JOB)
    bound, left = reencrypt_target(HTTP, target, KEYS, job_id=JOB, unbound=True)

    assert unasked == target
    assert [one.field for one in unopened] == ["target.headers.X-Key"]
    assert left == []
    assert decrypt_target(HTTP, bound, KEYS, job_id=JOB)[0]["headers"] == {"X-Key": "sesame"}


def test_sealing_without_a_key_says_how_to_make_one() -> None:
    with pytest.raises(SecretKeysMissing, match=r"TOCSIN_SECRET_KEYS.*head -c 32 /dev/urandom"):
        SecretKeys().encrypt("sesame", HERE)


def test_keys_show_nothing_of_themselves() -> None:
    assert repr(KEYS) == "SecretKeys(2)"


def test_resealing_rewrites_clear_and_old_values_and_leaves_current_ones() -> None:
    old = SecretKeys([OLD]).encrypt("old", of_job(JOB, "target.headers.X-Token"))
    current = KEYS.encrypt("current", of_job(JOB, "target.headers.Cookie"))
    target = {
        "url": "https://example.com/",
        "headers": {"X-Token": old, "X-Key": "clear", "Cookie": current},
    }

    rewritten, unopened = reencrypt_target(HTTP, target, KEYS, job_id=JOB)

    assert unopened == []
    assert rewritten["headers"]["Cookie"] == current
    assert all(KEYS.is_current(value) for value in rewritten["headers"].values())
    assert decrypt_target(HTTP, rewritten, SecretKeys([NEW]), job_id=JOB)[0]["headers"] == {
        "X-Token": "old",
        "X-Key": "clear",
        "Cookie": "current",
    }
    assert reencrypt_target(HTTP, rewritten, KEYS, job_id=JOB) == (rewritten, [])


REFERRING = {
    "url": "https://example.com/hook/${secret:PATH}?key=${secret:QUERY}",
    "headers": {"Authorization": "Bearer ${secret:TOKEN}", "X-Team": "a ${secret:TEAM} b"},
    "auth": {"type": "basic", "username": "${secret:USER}", "password": "${secret:PASSWORD}"},
    "body": "${secret:BODY}",
}
VALUES = {
    "PATH": "T0/B0/x y",
    "QUERY": "a&b=c",
    "TOKEN": "t0ken",
    "TEAM": "blue",
    "PASSWORD": "p@ss",
}


def test_references_are_read_in_urls_headers_and_secret_places_and_nowhere_else() -> None:
    assert names_in(HTTP, REFERRING) == set(VALUES)


def test_values_stand_where_the_references_stood_and_are_encoded_in_urls() -> None:
    target = with_values(HTTP, REFERRING, VALUES)

    assert target["url"] == "https://example.com/hook/T0/B0/x%20y?key=a%26b%3Dc"
    assert target["headers"] == {"Authorization": "Bearer t0ken", "X-Team": "a blue b"}
    assert target["auth"]["password"] == "p@ss"
    assert target["auth"]["username"] == "${secret:USER}"
    assert target["body"] == "${secret:BODY}"


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("amqp://me:${secret:A}@host/v", "amqp://me:a%2Fb%40c@host/v"),
        ("amqp://${secret:A}:${secret:A}@host/v", "amqp://a%2Fb%40c:a%2Fb%40c@host/v"),
        ("amqp://${secret:A}@host/v", "amqp://a%2Fb%40c@host/v"),
        ("https://${secret:A}.example/", "https://${secret:A}.example/"),
        ("https://example.com/${secret:A}", "https://example.com/a/b%40c"),
        ("https://example.com?${secret:A}", "https://example.com?a/b%40c"),
        ("${secret:A}", "${secret:A}"),
    ],
)
def test_a_secret_is_filled_into_a_url_but_never_into_its_host(url: str, filled: str) -> None:
    assert filled_url(url, {"A": "a/b@c"}.__getitem__) == filled


def test_a_value_that_looks_like_a_reference_is_not_followed() -> None:
    target = {"url": "http://a/", "headers": {"X": "${secret:A}"}}

    assert with_values(HTTP, target, {"A": "${secret:B}"})["headers"] == {"X": "${secret:B}"}


@pytest.mark.parametrize("text", ["${secret:A}", "Bearer ${secret:A}", "basic ${secret:a.b-c}"])
def test_a_reference_alone_is_no_secret_and_is_shown_and_stored_as_it_is(text: str) -> None:
    target = {"url": "https://example.com/", "headers": {"Authorization": text}}

    assert is_reference(text)
    assert mask(HTTP, target) == target
    assert encrypt_target(HTTP, target, KEYS, job_id=JOB) == target


@pytest.mark.parametrize("text", ["hunter2 ${secret:A}", "${secret:A}hunter2", "Bearer hunter2"])
def test_what_stands_beside_a_reference_is_hidden_and_sealed(text: str) -> None:
    target = {"url": "https://example.com/", "headers": {"Authorization": text}}

    assert not is_reference(text)
    assert mask(HTTP, target)["headers"] == {"Authorization": MASK}
    assert is_token(encrypt_target(HTTP, target, KEYS, job_id=JOB)["headers"]["Authorization"])


def test_a_broker_shows_which_secret_is_its_password() -> None:
    target = {"url": "amqp://${secret:USER}:${secret:RABBIT}@host/", "routing_key": "q"}

    assert mask(AMQP, target) == target
    assert encrypt_target(AMQP, target, KEYS, job_id=JOB) == target


def test_a_target_with_references_is_checked_as_far_as_it_is_known() -> None:
    signed = REFERRING | {"auth": {"type": "signature", "secret": "${secret:S}"}}
    check_target("http", signed)

    with pytest.raises(InvalidInput) as refusal:
        check_target("http", signed | {"url": "ftp://example.com/${secret:PATH}"})
    assert [error.field for error in refusal.value.errors] == ["target.url"]


def test_a_reference_to_an_impossible_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'a b', which no secret can be called"):
        check_target("http", {"url": "http://a/", "headers": {"X": "${secret:a b}"}})


@pytest.mark.parametrize(
    ("kind", "target", "field"),
    [
        ("http", {"url": "http://a/", "headers": {"X-Key": "TOKEN"}}, "target.headers.X-Key"),
        ("amqp", {"url": "amqp://me:TOKEN@a/", "routing_key": "q"}, "target.url"),
    ],
)
def test_nobody_may_write_a_token_that_somebody_else_may_have_got_from_a_backup(
    kind: str, target: dict[str, Any], field: str
) -> None:
    token = KEYS.encrypt("sesame", HERE)
    planted = json.loads(json.dumps(target).replace("TOKEN", token))

    with pytest.raises(InvalidInput, match="TOCSIN_SECRET_KEYS") as refusal:
        check_target(kind, planted)

    assert [error.field for error in refusal.value.errors] == [field]


def test_secrets_are_found_in_texts_in_every_usual_form() -> None:
    secret = 'a"b\\c/d e'
    text = 'plain a"b\\c/d e, JSON "a\\"b\\\\c/d e", URL a%22b%5Cc%2Fd%20e, cut off: a"b\\'

    assert redact({secret}, text) == f'plain {MASK}, JSON "{MASK}", URL {MASK}, cut off: {MASK}'


def test_a_refusal_quotes_no_secret_of_the_target() -> None:
    with pytest.raises(InvalidInput) as refusal:
        decode_target("http", {"url": "http://-sesame-/", "headers": {"X-Key": "-sesame-"}})

    assert str(refusal.value) == f"target.url: has an impossible host name: {MASK}"


def test_an_end_that_is_no_beginning_of_a_secret_stays() -> None:
    assert redact({"sesame"}, "open the same door: sesa, ses") == "open the same door: sesa, ses"


def test_places_without_secrets_are_left_alone_by_masks() -> None:
    assert mask(HTTP, {"headers": {"Accept": MASK}}) == {"headers": {"Accept": MASK}}
    assert Part("none") is Part.NONE


class Reading:
    """Notes in which threads OpenSSL reads our certificates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[int] = []
        self.load = tls.load_ours
        monkeypatch.setattr(tls, "load_ours", self)

    def __call__(self, context: ssl.SSLContext, settings: tls.Tls) -> None:
        self.threads.append(threading.get_ident())
        self.load(context, settings)


class NoDatabase(Runner):
    """None is asked: no named secret is referred to."""

    async def fetch(self, name: str, /, **_: Any) -> list[Row]:  # noqa: ANN401
        raise AssertionError(name)


async def test_something_else_has_a_turn_before_each_large_target_is_decoded() -> None:
    large = json.dumps({"url": "https://hooks.example", "json": [1] * LARGE})
    turns = 0

    async def something_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        other = asyncio.create_task(something_else())
        await asyncio.gather(*(targets.make_ready(JOB, "http", large) for _ in range(30)))
        other.cancel()

    assert turns >= 30


MANY_SECRETS = {f"password{index}": f"sesame {index}" for index in range(300)}


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("amqp", {"url": "amqp://u:p@h.example/", "routing_key": "x", "headers": MANY_SECRETS}),
        (
            "http",
            {
                "url": "https://h.example/",
                "headers": {f"X-Key-{index}": "sesame" for index in range(100)},
                "json": {},
                "json_secrets": {f"key{index}": "sesame" for index in range(100)},
                "auth": {"type": "basic", "username": "u", "password": "sesame"},
            },
        ),
    ],
    ids=["amqp", "http"],
)
async def test_a_target_that_was_accepted_is_carried_out_however_many_secrets_it_has(
    kind: str, target: dict[str, Any]
) -> None:
    given = prepare(kind, target, KEYS, job_id=JOB)
    assert given is not None
    stored = json.dumps(given.stored)
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        ready = await targets.make_ready(JOB, kind, stored)

    assert stored.count(PREFIX) > MAX_REFERENCES
    assert secrets_of(ready.target) == secrets_of(decode_target(kind, target))


@pytest.mark.parametrize(
    ("many", "error"),
    [(MAX_REFERENCES + 1, SecretUnusable), (MAX_STORED_REFERENCES + 1, InvalidInput)],
)
async def test_what_was_stored_before_references_were_counted_is_carried_out(
    monkeypatch: pytest.MonkeyPatch, many: int, error: type[Exception]
) -> None:
    """Up to ten times as many: the first gets as far as the secret, of which there is none."""

    async def read_values(_db: Runner, _names: Collection[str]) -> dict[str, StoredSecret]:
        return {}

    monkeypatch.setattr(secrets, "read_values", read_values)
    target = {"url": "https://h.example/", "headers": {"X-Key": "${secret:A}" * many}}
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        with pytest.raises(error):
            await targets.make_ready(JOB, "http", json.dumps(target))


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_target_of_too_many_references_is_told_of_by_each_check(*, is_encrypted: bool) -> None:
    """What is written may have fewer than what is stored, which the execution takes as well."""

    def check(many: int) -> None:
        often = "${secret:A}" * many
        target = {"url": "https://h.example/", "headers": {"X-Key": f"it is {often}"}}
        at_rest = encrypt_target(HTTP, target, KEYS, job_id=JOB) if is_encrypted else target
        check_stored(JOB, "http", json.dumps(at_rest), KEYS)
        prepare("http", target, KEYS, job_id=JOB)

    check(MAX_REFERENCES)
    with pytest.raises(InvalidInput, match="200 times at most"):
        check(MAX_STORED_REFERENCES)
    with pytest.raises(InvalidInput, match="2000 times at most"):
        check(MAX_STORED_REFERENCES + 1)


async def test_something_else_has_a_turn_before_each_hundred_secrets_are_decrypted() -> None:
    turns = Turns()
    target = {"url": "amqp://h.example/", "routing_key": "x", "headers": MANY_SECRETS}
    stored = json.dumps(encrypt_target(AMQP, target, KEYS, job_id=JOB))
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=turns, clock=Ticks())
        taken: list[int] = []
        take = turns.take

        async def noted(size: int) -> None:
            taken.append(size)
            await take(size)

        turns.take = noted  # type: ignore[method-assign]
        await targets.make_ready(JOB, "amqp", stored)

    assert len(taken) == 3  # to read it and for the first hundred, and for each hundred more


async def test_a_large_target_that_waits_for_its_turn_for_long_has_secrets_that_are_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, asked = {"A": "old", "B": "other"}, asyncio.Event()

    async def read_values(_db: Runner, names: Collection[str]) -> dict[str, StoredSecret]:
        if "A" in names:
            asked.set()
            turns.taken = True  # others, smaller, have the turn for seconds
        return {
            name: StoredSecret(
                token=KEYS.encrypt(values[name], of_secret(name)), hosts=["h.example"]
            )
            for name in names
        }

    monkeypatch.setattr(secrets, "read_values", read_values)
    clock, turns = Ticks(), Turns()

    def stored(name: str, size: int) -> str:
        headers = {"X-Key": f"${{secret:{name}}}"}
        return json.dumps({"url": "https://h.example/", "headers": headers, "body": "x" * size})

    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=turns, clock=clock)
        large = asyncio.create_task(targets.make_ready(JOB, "http", stored("A", LARGE)))
        await asked.wait()
        clock.now += FRESH_SECONDS + 0.1
        values["A"] = "new"
        await targets.make_ready(
            ANOTHER_JOB, "http", stored("B", 0)
        )  # which forgets the old one of A
        turns.pass_on()
        ready = await large

    assert secrets_of(ready.target) == {"new"}


async def test_a_target_that_waited_is_current_until_one_of_its_secrets_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is large is decoded ahead, and not again in a slot for the time that it waited."""
    headers = {"X-Key": "${secret:A}"}
    target = json.dumps({"url": "https://h.example/", "headers": headers, "body": "x" * LARGE})
    found = StoredSecret(token=KEYS.encrypt("old", of_secret("A")), hosts=["h.example"])
    stored = {"A": found}

    async def read_values(_db: Runner, _names: Collection[str]) -> dict[str, StoredSecret]:
        return dict(stored)

    monkeypatch.setattr(secrets, "read_values", read_values)
    clock, current = Ticks(), list[bool]()
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=clock)
        ready = await targets.make_ready(JOB, "http", target)
        for change in ({}, {"hosts": ["other.example"]}, None):
            if change is None:
                del stored["A"]
            else:
                stored["A"] = replace(found, **change)
            clock.now += FRESH_SECONDS + 0.1
            current.append(await targets.is_current(ready))

    assert current == [True, False, False]


@pytest.mark.parametrize("read", ["A", "B"])
async def test_a_target_knows_which_secrets_are_in_it_whatever_was_read_while_it_was_decoded(
    monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The secret is read anew, or forgotten as another one is read: the target has the old one."""
    values = {"A": "old", "B": "other"}
    entered, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(tls, "VERDICTS", tls.Verdicts(4))

    async def read_values(_db: Runner, names: Collection[str]) -> dict[str, StoredSecret]:
        return {
            name: StoredSecret(
                token=KEYS.encrypt(values[name], of_secret(name)), hosts=["h.example"]
            )
            for name in names
        }

    def waiting(_: tls.Tls) -> None:
        entered.set()
        may_end.wait(5)

    monkeypatch.setattr(secrets, "read_values", read_values)
    monkeypatch.setattr(tls, "problem_of", waiting)

    def stored(name: str, **certificates: str) -> str:
        headers = {"X-Key": f"${{secret:{name}}}"}
        return json.dumps({"url": "https://h.example/", "headers": headers, **certificates})

    clock = Ticks()
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=clock)
        decoding = asyncio.create_task(
            targets.make_ready(JOB, "http", stored("A", **certificate(1)))
        )
        while not entered.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.001)
        clock.now += FRESH_SECONDS + 0.1
        values["A"] = "new"
        await targets.make_ready(ANOTHER_JOB, "http", stored(read))
        may_end.set()
        ready = await decoding

        assert secrets_of(ready.target) >= {"old"}
        assert not await targets.is_current(ready)


@pytest.mark.parametrize("is_sound", [True, False])
async def test_certificates_of_a_target_are_read_once_and_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, *, is_sound: bool
) -> None:
    reading = Reading(monkeypatch)
    texts = certificate(1) if is_sound else certificate(1) | {"client_key": "no key"}
    stored = json.dumps({"url": "https://hooks.example", **texts})
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        found = [
            await asyncio.gather(targets.make_ready(JOB, "http", stored), return_exceptions=True)
            for _ in range(3)
        ]

    assert [isinstance(one, InvalidInput) for [one] in found] == [not is_sound] * 3
    assert len(reading.threads) == 1
    assert threading.get_ident() not in reading.threads


async def test_a_verdict_on_certificates_is_kept_and_asked_for_without_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls, "VERDICTS", tls.Verdicts(4))
    stored = json.dumps({"url": "https://hooks.example", **certificate(2)})
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        await targets.make_ready(JOB, "http", stored)
    # From here on the thread takes nothing more.

    assert (await targets.make_ready(JOB, "http", stored)).target


async def test_certificates_whose_verdict_others_displaced_are_read_beside_the_event_loop_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls, "VERDICTS", tls.Verdicts(4))
    reading = Reading(monkeypatch)
    stored = json.dumps({"url": "https://hooks.example", **certificate(3)})
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        await targets.make_ready(JOB, "http", stored)
        for number in range(4):  # as many as are kept, checked as a row typed in psql is
            list(tls.tls_errors(tls.Tls(ca=f"{number}")))
        await targets.make_ready(JOB, "http", stored)

    assert len(tls.VERDICTS.kept) == 4
    assert len(reading.threads) == 2
    assert threading.get_ident() not in reading.threads


def test_thousands_of_certificates_displace_no_verdict_on_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[tls.Tls] = []
    monkeypatch.setattr(tls, "problem_of", read.append)
    verdicts = tls.Verdicts(tls.MAX_CHECKED)
    mine = tls.Tls(client_certificate="mine", client_key="key")

    verdicts.of(mine)
    for number in range(5000):
        verdicts.of(tls.Tls(client_certificate="mine", client_key=f"key {number}"))
    verdicts.of(mine)

    assert len(read) == 5001  # keys that differ have verdicts that differ
    assert read.count(mine) == 1


async def test_whether_a_target_brings_certificates_is_asked_once_for_a_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    decoder = tls_target.DECODER

    class Counting:
        def decode(self, stored: str) -> tls_target.Certified:
            asked.append(stored)
            return decoder.decode(stored)

    monkeypatch.setattr(tls_target, "DECODER", Counting())
    stored = json.dumps({"url": "https://hooks.example", "json": {"ca": 1}})
    with ThreadPoolExecutor(1) as thread:
        targets = Targets(NoDatabase(), KEYS, thread=thread, turns=Turns(), clock=Ticks())
        held = HeldClaim(some_claim(target=stored), lease_ends=60.0)
        for _ in range(3):  # to load, to prepare, to execute
            await targets.make_ready(JOB, "http", stored)

    assert (asked, held.needs_certificates) == ([stored], False)


@pytest.mark.parametrize(
    ("target", "brings"),
    [
        ({"url": "https://h/"}, False),
        ({"url": "https://h/", "json": {"ca": 1}}, False),
        ({"url": "https://h/", "headers": {"ca": "California"}}, False),
        ({"url": "https://h/", "ca": None}, False),
        ({"url": "https://h/", "ca": "PEM"}, True),
        ({"url": "https://h/", "client_key": {"encrypted": "x"}}, True),
        ({"url": "https://h/", "auth": {"type": "oauth2", "ca": "PEM"}}, True),
        ({"url": "https://h/", "auth": ["ca", {"ca": 1}]}, True),
    ],
)
def test_only_a_field_of_the_target_brings_certificates(
    target: dict[str, Any], *, brings: bool
) -> None:
    stored = json.dumps(target)  # with spaces, as Postgres writes it

    assert brings_certificates(stored) is brings


@pytest.mark.parametrize("name", ["", "a b", ".x", "x" * 101])
def test_what_no_secret_can_be_called_is_not_to_be_set(name: str) -> None:
    named = NamedSecrets(NoDatabase(), KEYS, lambda: 0.0)
    named.known = {name: Known(secret=None, read_at=0.0)}

    with pytest.raises(SecretUnusable, match="none can be: a name may have up to 100 letters"):
        named.value(name)
