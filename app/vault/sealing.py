"""Encrypts the secrets inside the JSON of a target, one by one, and decrypts them."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from app.core.references import is_reference
from app.core.secret_places import Place, replaced
from app.core.url_parts import with_password
from app.vault.secret_keys import SecretKeys, Unopened, is_token

Opened = tuple[dict[str, Any], list[str]]
"""A target, and the fields whose secret no key opens: these have been left as they are."""


def sealed(type_: type[Struct], target: dict[str, Any], keys: SecretKeys) -> dict[str, Any]:
    """Encrypt every secret that is in clear; without keys, none."""
    if not keys:
        return target
    return changed(type_, target, lambda value: seal(value, keys))[0]


def opened(type_: type[Struct], target: dict[str, Any], keys: SecretKeys) -> Opened:
    """Decrypt every secret that is encrypted."""
    return changed(type_, target, lambda value: keys.open(value) if is_token(value) else value)


def resealed(type_: type[Struct], target: dict[str, Any], keys: SecretKeys) -> Opened:
    """Encrypt with the first key every secret that is not; the others stay the same tokens."""
    return changed(type_, target, lambda value: reseal(value, keys))


def seal(value: object, keys: SecretKeys) -> object:
    if value in (None, "") or is_token(value) or is_reference(value):
        return value
    return keys.seal(value)


def reseal(value: object, keys: SecretKeys) -> object:
    if not is_token(value):
        return seal(value, keys)
    token = str(value)
    return token if keys.is_current(token) else keys.seal(keys.open(token))


def changed(type_: type[Struct], target: dict[str, Any], change: Callable[[Any], Any]) -> Opened:
    """Change every secret; `change` may raise Unopened."""
    unopened: list[str] = []

    def change_one(place: Place, value: object, _stored: object, field: str) -> object:
        try:
            match place, value:
                case Place.NONE, _:
                    return value
                case Place.IN_URL, str() if not is_token(value):  # it is where it was no text
                    return with_password(value, change)
                case _:
                    return change(value)
        except Unopened:
            unopened.append(field)
            return value

    return replaced(type_, target, change_one), unopened
