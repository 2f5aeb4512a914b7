"""Sessions of browsers: what the cookie holds, how it is called, and whose requests it may make."""

import re
from collections.abc import Mapping
from hashlib import sha256

from app.core.secrets.masking import Masked, Secret

SESSION_SECONDS = 12 * 3600
"""A working day; whose key expires before is out before."""
RANDOM_BYTES = 32

TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)
COOKIE = "tocsin_session"
COOKIE_OVER_TLS = f"__Host-{COOKIE}"
"""Browsers take a cookie of this prefix from this very host and over TLS only, so that no
neighbour below the same domain can plant one."""


class IssuedSession(Masked, frozen=True, kw_only=True):
    """What a new session's cookie holds, which is random, and what is kept of it."""

    token: Secret
    digest: bytes


def issued(random: bytes) -> IssuedSession:
    """Make a session of `RANDOM_BYTES` that nobody can guess."""
    token = random.hex()
    return IssuedSession(token=token, digest=digest_of(token))


def digest_of(token: str) -> bytes:
    """Return what is stored of a token: as of API keys, a plain digest."""
    return sha256(token.encode()).digest()


def is_token(given: str) -> bool:
    """Whether it can be what a cookie of ours holds."""
    return TOKEN.fullmatch(given) is not None


def cookie_name(scheme: str) -> str:
    """Name the cookie; over TLS no other is looked at, as anybody could have planted it."""
    return COOKIE_OVER_TLS if scheme == "https" else COOKIE


def is_from_own_page(headers: Mapping[str, str], *, scheme: str) -> bool:
    """Whether a browser says that a page of ours made the request; `headers` in lower case.

    Sec-Fetch-Site decides where the browser sends it; another port of this host is `same-site`
    there. Else the Origin has to be the address that was asked. Neither can be set by a page.
    """
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    host = headers.get("host", "")
    return host != "" and headers.get("origin") == f"{scheme}://{host}"


def is_from_page(headers: Mapping[str, str]) -> bool:
    """Whether a page made the request, and not a program, which says nothing of the kind."""
    return "sec-fetch-site" in headers or "origin" in headers
