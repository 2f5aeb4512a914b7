"""The keys of `TOCSIN_SECRET_KEYS`, and the form that an encrypted value has: a token.

A token is text that fits into JSON and into a URL as it is. Its key is derived (HKDF, RFC 5869)
from one of the operator's keys and from the context, which says where the value belongs: one field
of one job, or one named secret. So a token that is pasted elsewhere does not open.
Why Fernet: docs/adr/0023; why derived keys: docs/adr/0054.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from app.core.jobs.exact_json import DECODER
from app.errors import AppError, SecretKeysMissing

PREFIX = "encrypted.v"
"""How every token begins, of whatever version."""
BOUND = f"{PREFIX}2."
UNBOUND = f"{PREFIX}1."
"""Of development versions: a Fernet token of the operator's key, good for any job."""
TOKEN = re.compile(r"encrypted\.v[0-9]{1,4}\.[A-Za-z0-9_.-]+={0,2}")
BOUND_TOKEN = re.compile(
    r"encrypted\.v2\.(?P<key_id>[0-9a-f]{8})\.(?P<sealed>[A-Za-z0-9_-]+={0,2})"
)
TO_URLSAFE = str.maketrans("+/", "-_")
KEY_BYTES = 32

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
    """The token does not open here; the message says why, and what to do."""


def of_job(id: UUID, field: str) -> str:
    """Name the context of a field of a job's target; names of headers do not differ in case."""
    return f"job {id} {field.lower()}"


def of_secret(name: str) -> str:
    """Name the context of a named secret."""
    return f"secret {name}"


class SecretKey:
    """One of the operator's keys, from which those that encrypt are derived."""

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
    """Encrypts with the first of the keys, decrypts with each; there may be none."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.each = [SecretKey(key) for key in keys]
        self.by_id = {key.id: key for key in reversed(self.each)}

    def __bool__(self) -> bool:
        return bool(self.each)

    def __repr__(self) -> str:
        return f"SecretKeys({len(self.each)})"

    def encrypt(self, value: object, context: str) -> str:
        """Encrypt a JSON value, to be opened in the same context only.

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
        """Decrypt a token of a development version, to bind it; such a token opens anywhere.

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
        """Whether one of the keys has this id."""
        return key_id in self.by_id

    def is_current(self, token: str) -> bool:
        """Whether the token names the first key, and is bound to a context."""
        return bool(self.each) and token.startswith(f"{BOUND}{self.each[0].id}.")


def is_token(value: object) -> bool:
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def padded(key: str) -> str:
    """The key as Fernet wants it; people have it from `base64` or from Fernet itself."""
    return key.translate(TO_URLSAFE).rstrip("=") + "="
