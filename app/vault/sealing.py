"""Encrypts the secrets inside the JSON of a target, one by one, and decrypts them."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from msgspec import Struct

from app.core.net.url_parts import with_password
from app.core.secrets.places import Place, Spot, change_spots, spots_in
from app.core.secrets.references import is_reference
from app.errors import FieldError
from app.vault.secret_keys import UNBOUND, NotDecrypted, SecretKeys, is_token, of_job

Decrypted = tuple[dict[str, Any], list[FieldError]]
"""A target, and errors for the fields whose secret no key decrypts; those stay encrypted."""


def encrypt_target(
    type_: type[Struct], target: dict[str, Any], keys: SecretKeys, *, job_id: UUID
) -> dict[str, Any]:
    """Encrypt every secret that is in clear, for this job; without keys, none."""
    return encrypt_spots(target, spots_in(type_, target), keys, job_id=job_id)


def encrypt_spots(
    target: dict[str, Any], spots: Iterable[Spot], keys: SecretKeys, *, job_id: UUID
) -> dict[str, Any]:
    """Encrypt the secrets in these spots of a target, as `encrypt_target` does."""

    def encrypt(value: object, field: str) -> object:
        return encrypt_value(value, keys, of_job(job_id, field))

    return (
        change_spots(target, spots, lambda spot: change_secret(spot, encrypt)) if keys else target
    )


def decrypt_target(
    type_: type[Struct], target: dict[str, Any], keys: SecretKeys, *, job_id: UUID
) -> Decrypted:
    """Decrypt every secret that was encrypted for this job."""

    def change(value: object, field: str) -> object:
        return keys.decrypt(str(value), of_job(job_id, field)) if is_token(value) else value

    return changed(type_, target, change)


def reencrypt_target(
    type_: type[Struct],
    target: dict[str, Any],
    keys: SecretKeys,
    *,
    job_id: UUID,
    unbound: bool = False,
) -> Decrypted:
    """Encrypt with the first key every secret that is not; the others stay the same tokens.

    `unbound`: those of development versions as well, which then are this job's.
    """

    def change(value: object, field: str) -> object:
        context = of_job(job_id, field)
        if not is_token(value):
            return encrypt_value(value, keys, context)
        return reencrypt_value(str(value), keys, context, unbound=unbound)

    return changed(type_, target, change)


def encrypt_value(value: object, keys: SecretKeys, context: str) -> object:
    if value in (None, "") or is_token(value) or is_reference(value):
        return value
    return keys.encrypt(value, context)


def reencrypt_value(token: str, keys: SecretKeys, context: str, *, unbound: bool) -> str:
    """Encrypt a token with the first key, unless the token is of that key already.

    Raises:
        NotDecrypted: no key decrypts the token here.
    """
    if unbound and token.startswith(UNBOUND):
        return keys.encrypt(keys.open_unbound(token), context)
    value = keys.decrypt(token, context)
    return token if keys.is_current(token) else keys.encrypt(value, context)


def changed(
    type_: type[Struct], target: dict[str, Any], change: Callable[[Any, str], Any]
) -> Decrypted:
    """Change every secret, by its value and field; `change` may raise NotDecrypted."""
    unopened: list[FieldError] = []

    def change_one(spot: Spot) -> object:
        try:
            return change_secret(spot, change)
        except NotDecrypted as error:
            unopened.append(FieldError(field=spot.field, message=str(error)))
            return spot.value

    return change_spots(target, spots_in(type_, target), change_one), unopened


def change_secret(spot: Spot, change: Callable[[Any, str], Any]) -> object:
    """Change the secret in one spot, which in a URL is the password alone."""
    match spot.place, spot.value:
        case Place.NONE, value:
            return value
        case Place.IN_URL, str() as url if not is_token(url):  # the value was no text once
            return with_password(url, lambda password: change(password, spot.field))
        case _, value:
            return change(value, spot.field)
