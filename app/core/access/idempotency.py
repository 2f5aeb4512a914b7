"""Idempotency keys: their form, and the digests by which a kept answer is found and compared."""

import re
from hashlib import sha256

HEADER = "Idempotency-Key"
FORM = re.compile(r"[\x21-\x7e]{1,255}")


def key_error(key: str) -> str | None:
    """Say what is wrong with the key of a request; None if nothing is."""
    if FORM.fullmatch(key):
        return None
    return (
        "is 1 to 255 letters, digits and signs of ASCII, without spaces: send a new UUID for each "
        "thing that is to be done once"
    )


def id_of(key: str, *, credential: str) -> bytes:
    """Return the digest that a kept answer has as its id: of the key, and of the client's secret.

    `credential`: the API key or the session's cookie of the client; empty without any. So the keys
    of two clients are never the same, and nobody learns from a copy of the database what they were.
    """
    return digest(credential.encode(), key.encode())


def digest_of_request(method: str, address: str, media_type: str, body: bytes) -> bytes:
    """Return the digest of what a request asks for; `address` is its path with the query."""
    return digest(method.encode(), address.encode(), media_type.encode(), body)


def digest(*parts: bytes) -> bytes:
    """Return the SHA-256 of some texts, each of which begins with its length."""
    whole = sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()
