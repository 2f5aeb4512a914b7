"""The keys of `TOCSIN_SECRET_KEYS`, and the form that an encrypted value has: a token.

A token is text that fits into JSON and into a URL as it is. Why Fernet: docs/adr/0023.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.errors import AppError, SecretKeysMissing

PREFIX = "encrypted.v1."
TOKEN = re.compile(r"encrypted\.v1\.[A-Za-z0-9_-]+={0,2}")
TO_URLSAFE = str.maketrans("+/", "-_")

NO_KEYS = (
    "TOCSIN_SECRET_KEYS is not set, and named secrets are stored encrypted or not at all; "
    "a key is 32 random bytes in base64: head -c 32 /dev/urandom | base64"
)


class Unopened(AppError):
    """None of the keys opens the token."""


class SecretKeys:
    """Encrypts with the first of the keys, decrypts with each; there may be none."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.each = [Fernet(padded(key)) for key in keys]
        self.all = MultiFernet(self.each) if self.each else None

    def __bool__(self) -> bool:
        return bool(self.each)

    def __repr__(self) -> str:
        return f"SecretKeys({len(self.each)})"

    def seal(self, value: object) -> str:
        """Encrypt a JSON value.

        Raises:
            SecretKeysMissing: there is no key.
        """
        if not self.each:
            raise SecretKeysMissing(NO_KEYS)
        return PREFIX + self.each[0].encrypt(msgspec.json.encode(value)).decode()

    def open(self, token: str) -> object:
        """Decrypt the JSON value that `seal` encrypted.

        Raises:
            Unopened: it was encrypted with another key, or changed since.
        """
        with suppress(InvalidToken):
            if self.all is not None:
                opened: object = msgspec.json.decode(self.all.decrypt(encrypted(token)))
                return opened
        raise Unopened("none of the keys in TOCSIN_SECRET_KEYS decrypts it")

    def is_current(self, token: str) -> bool:
        """Whether it is encrypted with the first key."""
        with suppress(InvalidToken):
            self.each[0].decrypt(encrypted(token))
            return True
        return False


def is_token(value: object) -> bool:
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def encrypted(token: str) -> bytes:
    return token.removeprefix(PREFIX).encode()


def padded(key: str) -> str:
    """The key as Fernet wants it; people have it from `base64` or from Fernet itself."""
    return key.translate(TO_URLSAFE).rstrip("=") + "="
