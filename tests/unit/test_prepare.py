"""What a client wrote becomes a target to store in one walk over it."""

from typing import Any
from uuid import UUID

import pytest

from app.core.secrets import places
from app.core.secrets.bindings import Destination
from app.core.secrets.masking import mask
from app.core.secrets.places import change_spots, spots_in
from app.errors import InvalidInput
from app.targets.registry import target_type
from app.vault import (
    Prepared,
    Referring,
    SecretKeys,
    check_target,
    decrypt_target,
    encrypt_target,
    prepare,
)

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
