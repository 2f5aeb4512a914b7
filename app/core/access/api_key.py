"""API keys: what they look like, how they are checked, and what they allow."""

import re
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

from app.core.secrets.masking import Masked, Secret
from app.errors import FieldError, InvalidInput

PREFIX_BYTES = 6
SECRET_BYTES = 32
RANDOM_BYTES = PREFIX_BYTES + SECRET_BYTES

KEY = re.compile(r"tocsin_(?P<prefix>[0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)
NAME = re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,200}")
NO_DIGEST = bytes(32)
"""Of no key: what an unknown one is compared with, so that it takes as long as a known one."""


class Scope(StrEnum):
    """What a key allows; each scope includes those before it."""

    READ = "read"
    """See jobs, executions, instances and counters."""
    WRITE = "write"
    """Create, edit, run and delete jobs."""
    ADMIN = "admin"
    """Manage keys and read the audit log."""


class IssuedKey(Masked, frozen=True, kw_only=True):
    """A key as it is shown once, and what is kept of it."""

    key: Secret
    prefix: str
    digest: bytes


def issued(random: bytes) -> IssuedKey:
    """Make a key of `RANDOM_BYTES` that nobody can guess."""
    prefix, secret = random[:PREFIX_BYTES].hex(), random[PREFIX_BYTES:].hex()
    key = f"tocsin_{prefix}_{secret}"
    return IssuedKey(key=key, prefix=prefix, digest=digest_of(key))


def prefix_of(key: str) -> str | None:
    """Return the part by which a key is looked up; None: no key looks like this."""
    found = KEY.fullmatch(key)
    return found["prefix"] if found else None


def digest_of(key: str) -> bytes:
    """Return what is stored of a key. It is random enough to need neither salt nor repetition."""
    return sha256(key.encode()).digest()


def is_key(given: str, digest: bytes) -> bool:
    """Whether this is the key of that digest, in a time that tells nothing of how near it is."""
    return compare_digest(digest_of(given), digest)


def check_name(name: str) -> None:
    """Refuse what no key can be called.

    Raises:
        InvalidInput: saying why.
    """
    if not NAME.fullmatch(name):
        message = "must have 1 to 200 characters, no slash and no control character"
        raise InvalidInput(FieldError(field="name", message=message))


def granted(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Return the scopes with those that they include."""
    order = list(Scope)
    highest = max((order.index(scope) for scope in scopes), default=-1)
    return frozenset(order[: highest + 1])
