"""The keys of `TOCSIN_SECRET_KEYS`, and what they encrypt: values, and the secrets of a target.

An encrypted value is a token: text that fits into JSON and into a URL as it is. Its key is derived
(HKDF, RFC 5869) from one of the operator's keys and from the context, which says where the value
belongs: one field of one job, or one named secret. A token that is pasted elsewhere is refused.
Why Fernet: docs/adr/0023; why derived keys: docs/adr/0054.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from msgspec import Struct

from app.core.jobs.exact_json import DECODER
from app.core.net.url_parts import with_password
from app.core.secrets.places import Part, Spot, change_spots, spots_in
from app.core.secrets.references import is_reference
from app.errors import AppError, FieldError, SecretKeysMissing

PREFIX = "encrypted.v"
"""How every token begins, of whatever version."""
BOUND = f"{PREFIX}2."
UNBOUND = f"{PREFIX}1."
"""How tokens of development versions begin: Fernet tokens of the operator's key, which are not
bound to a context and decrypt for any job."""
TOKEN = re.compile(r"encrypted\.v[0-9]{1,4}\.[A-Za-z0-9_.-]+={0,2}")
BOUND_TOKEN = re.compile(
    r"encrypted\.v2\.(?P<key_id>[0-9a-f]{8})\.(?P<sealed>[A-Za-z0-9_-]+={0,2})"
)
TO_URLSAFE = str.maketrans("+/", "-_")
KEY_BYTES = 32
"""The length of the operator's keys, and of derived keys."""

NO_KEYS = (
    "TOCSIN_SECRET_KEYS is not set, and named secrets are stored encrypted or not at all; "
    "a key is 32 random bytes in base64: head -c 32 /dev/urandom | base64"
)
UNKNOWN_KEY = (
    "no key in TOCSIN_SECRET_KEYS decrypts it: add the one it was encrypted with, "
    "or write the secret out"
)
MISPLACED = (
    "it was encrypted for another job, field or name, or changed since, and is good only where it "
    "was made: write the secret out"
)
OF_NO_JOB = (
    "it was encrypted by a development version, which bound it to no job: write the secret out, or "
    "run `tocsin secrets rotate --unbound` once"
)


class NotDecrypted(AppError):
    """A token cannot be decrypted in this context; the message says why, and what to do."""


def of_job(id: UUID, field: str) -> str:
    """Name the context of a field of a job's target; the case of the field's name is ignored."""
    return f"job {id} {field.lower()}"


def of_secret(name: str) -> str:
    """Name the context of a named secret."""
    return f"secret {name}"


class SecretKey:
    """One of the operator's keys, from which a key of its own is derived for each context."""

    def __init__(self, key: str) -> None:
        self.key = urlsafe_b64decode(padded(key))
        self.id = self.derived("id of the key")[:4].hex()
        self.unbound = Fernet(padded(key))

    def __repr__(self) -> str:
        return f"SecretKey({self.id})"

    def derived(self, info: str) -> bytes:
        """Derive a key: of a random key HKDF needs its second step only."""
        return HKDFExpand(SHA256(), KEY_BYTES, info=f"tocsin {info}".encode()).derive(self.key)

    def fernet(self, context: str) -> Fernet:
        """Return the cipher of this context."""
        return Fernet(urlsafe_b64encode(self.derived(context)))


class SecretKeys:
    """The operator's keys, maybe none: the first one encrypts, all of them decrypt."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.each = [SecretKey(key) for key in keys]
        self.by_id = {key.id: key for key in reversed(self.each)}

    def __bool__(self) -> bool:
        return bool(self.each)

    def __repr__(self) -> str:
        return f"SecretKeys({len(self.each)})"

    def encrypt(self, value: object, context: str) -> str:
        """Encrypt a JSON value; the token decrypts in the same context only.

        Raises:
            SecretKeysMissing: there is no key.
        """
        if not self.each:
            raise SecretKeysMissing(NO_KEYS)
        first = self.each[0]
        sealed = first.fernet(context).encrypt(msgspec.json.encode(value)).decode()
        return f"{BOUND}{first.id}.{sealed}"

    def decrypt(self, token: str, context: str) -> object:
        """Decrypt the JSON value that `encrypt` encrypted in this context.

        Raises:
            NotDecrypted: the token is of another key or another context, or was changed.
        """
        if token.startswith(UNBOUND):
            raise NotDecrypted(OF_NO_JOB)
        match = BOUND_TOKEN.fullmatch(token)
        key = self.by_id.get(match["key_id"]) if match else None
        if match is None or key is None:
            raise NotDecrypted(UNKNOWN_KEY)
        try:
            opened: object = DECODER.decode(key.fernet(context).decrypt(match["sealed"].encode()))
        except InvalidToken:
            raise NotDecrypted(MISPLACED) from None
        return opened

    def open_unbound(self, token: str) -> object:
        """Decrypt a token of a development version, which is bound to no context.

        Raises:
            NotDecrypted: the text is no such token, or the token is of another key.
        """
        for key in self.each:
            with suppress(InvalidToken):
                opened: object = DECODER.decode(
                    key.unbound.decrypt(token.removeprefix(UNBOUND).encode())
                )
                return opened
        raise NotDecrypted(UNKNOWN_KEY)

    def has(self, key_id: str) -> bool:
        """Return whether one of the keys has this id."""
        return key_id in self.by_id

    def is_current(self, token: str) -> bool:
        """Return whether the token is of the first key, and bound to a context."""
        return bool(self.each) and token.startswith(f"{BOUND}{self.each[0].id}.")


def is_token(value: object) -> bool:
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def padded(key: str) -> str:
    """Return a key in the base64 that Fernet takes, from the forms that people have it in."""
    return key.translate(TO_URLSAFE).rstrip("=") + "="


Decrypted = tuple[dict[str, Any], list[FieldError]]
"""A target, and an error for each field whose secret no key decrypts: these stay encrypted."""


def encrypt_target(
    type_: type[Struct], target: dict[str, Any], keys: SecretKeys, *, job_id: UUID
) -> dict[str, Any]:
    """Encrypt, for this job, every secret that is in clear; without keys the target stays as is."""
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
    return decrypt_spots(target, spots_in(type_, target), keys, job_id=job_id)


def decrypt_spots(
    target: dict[str, Any], spots: Iterable[Spot], keys: SecretKeys, *, job_id: UUID
) -> Decrypted:
    """Decrypt the secrets in these spots of a target, as `decrypt_target` does."""

    def change(value: object, field: str) -> object:
        return keys.decrypt(str(value), of_job(job_id, field)) if is_token(value) else value

    return changed(target, spots, change)


def reencrypt_target(
    type_: type[Struct],
    target: dict[str, Any],
    keys: SecretKeys,
    *,
    job_id: UUID,
    unbound: bool = False,
) -> Decrypted:
    """Encrypt with the first key every secret that is not; tokens of the first key stay.

    `unbound`: tokens of development versions are encrypted anew as well, and bound to this job.
    """

    def change(value: object, field: str) -> object:
        context = of_job(job_id, field)
        if not is_token(value):
            return encrypt_value(value, keys, context)
        return reencrypt_value(str(value), keys, context, unbound=unbound)

    return changed(target, spots_in(type_, target), change)


def encrypt_value(value: object, keys: SecretKeys, context: str) -> object:
    """Encrypt a value, unless it is empty, a token, or a reference to a named secret."""
    if value in (None, "") or is_token(value) or is_reference(value):
        return value
    return keys.encrypt(value, context)


def reencrypt_value(token: str, keys: SecretKeys, context: str, *, unbound: bool) -> str:
    """Encrypt a token's value with the first key, unless the token is of that key already.

    Raises:
        NotDecrypted: no key decrypts the token in this context.
    """
    if unbound and token.startswith(UNBOUND):
        return keys.encrypt(keys.open_unbound(token), context)
    value = keys.decrypt(token, context)
    return token if keys.is_current(token) else keys.encrypt(value, context)


def changed(
    target: dict[str, Any], spots: Iterable[Spot], change: Callable[[Any, str], Any]
) -> Decrypted:
    """Return a target in which each secret in a spot is what `change` makes of value and field.

    A secret for which `change` raises NotDecrypted stays, and has an error in the result.
    """
    unopened: list[FieldError] = []

    def change_one(spot: Spot) -> object:
        try:
            return change_secret(spot, change)
        except NotDecrypted as error:
            unopened.append(FieldError(field=spot.field, message=str(error)))
            return spot.value

    return change_spots(target, spots, change_one), unopened


def change_secret(spot: Spot, change: Callable[[Any, str], Any]) -> object:
    """Return the value of a spot with its secret changed: in a URL, only the password is one."""
    match spot.part, spot.value:
        case Part.NONE, value:
            return value
        case Part.IN_URL, str() as url if not is_token(url):  # the value was no text once
            return with_password(url, lambda password: change(password, spot.context))
        case _, value:
            return change(value, spot.context)
