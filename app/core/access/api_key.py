"""API keys: their form, how a given key is checked, and the scopes that a key grants."""

import re
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

from app.core.jobs.names import name_error
from app.core.secrets.masking import Masked, Secret
from app.errors import FieldError, InvalidInput

PREFIX_BYTES = 6
"""Random bytes of the part by which a key is looked up, and which may be shown."""
SECRET_BYTES = 32
"""Random bytes of the secret part."""
RANDOM_BYTES = PREFIX_BYTES + SECRET_BYTES
"""How many random bytes `issue` takes."""

KEY = re.compile(r"tocsin_(?P<prefix>[0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)
NO_DIGEST = bytes(32)
"""The digest of no key. Unknown keys are compared with it, to take as long as known ones."""


class Scope(StrEnum):
    """What a key allows; each scope includes the scopes before it."""

    READ = "read"
    """See jobs, executions, instances and counters."""
    WRITE = "write"
    """Create, edit, run and delete jobs."""
    ADMIN = "admin"
    """Manage keys and read the audit log."""


class IssuedKey(Masked, frozen=True, kw_only=True):
    """A new key, which is shown once, with the prefix and digest that are stored."""

    key: Secret
    prefix: str
    digest: bytes


def issue(random: bytes) -> IssuedKey:
    """Make a key of `RANDOM_BYTES` cryptographically random bytes."""
    prefix, secret = random[:PREFIX_BYTES].hex(), random[PREFIX_BYTES:].hex()
    key = f"tocsin_{prefix}_{secret}"
    return IssuedKey(key=key, prefix=prefix, digest=digest_of(key))


def prefix_of(key: str) -> str | None:
    """Return the prefix by which a key is looked up; None if the text is no key."""
    found = KEY.fullmatch(key)
    return found["prefix"] if found else None


def digest_of(key: str) -> bytes:
    """Return the digest that is stored of a key.

    A key has 256 random bits, so that the digest needs neither a salt nor repeated hashing.
    """
    return sha256(key.encode()).digest()


def is_key(given: str, digest: bytes) -> bool:
    """Return whether `given` is the key of that digest, in a time that does not depend on it."""
    return compare_digest(digest_of(given), digest)


def check_name(name: str) -> None:
    """Refuse a name that a key cannot have.

    Raises:
        InvalidInput: for the field `name`.
    """
    if error := name_error(name):
        raise InvalidInput(FieldError(field="name", message=error))


def granted(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Return the scopes together with the scopes that they include."""
    order = list(Scope)
    highest = max((order.index(scope) for scope in scopes), default=-1)
    return frozenset(order[: highest + 1])
