"""Browser sessions: their cookie, and which requests may use it."""

import re
from collections.abc import Mapping
from hashlib import sha256

from app.core.secrets.masking import Masked, Secret

SESSION_SECONDS = 12 * 3600
"""A working day; a session ends earlier if its API key expires earlier."""
RANDOM_BYTES = 32
"""How many random bytes `issue` takes."""

TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)
COOKIE = "tocsin_session"
COOKIE_OVER_TLS = f"__Host-{COOKIE}"
"""Browsers accept a cookie with the prefix `__Host-` only over TLS and from the host itself; other
hosts of the same domain cannot set one (RFC 6265bis, 4.1.3)."""


class IssuedSession(Masked, frozen=True, kw_only=True):
    """A new session: the token for its cookie, and the digest that is stored."""

    token: Secret
    digest: bytes


def issue(random: bytes) -> IssuedSession:
    """Make a session of `RANDOM_BYTES` cryptographically random bytes."""
    token = random.hex()
    return IssuedSession(token=token, digest=digest_of(token))


def digest_of(token: str) -> bytes:
    """Return the digest that is stored of a token; as for API keys, a plain one is enough."""
    return sha256(token.encode()).digest()


def is_token(given: str) -> bool:
    """Return whether a cookie's value has the form of a token."""
    return TOKEN.fullmatch(given) is not None


def cookie_name(scheme: str) -> str:
    """Name the cookie that is read; over TLS only the one that no other host can have set."""
    return COOKIE_OVER_TLS if scheme == "https" else COOKIE


def is_from_own_page(headers: Mapping[str, str], *, scheme: str) -> bool:
    """Return whether a browser says that one of Tocsin's own pages made the request.

    Names of `headers` are in lower case. If the browser sends Sec-Fetch-Site, that decides: a page
    on another port of this host is `same-site`, not `same-origin`. Else the Origin has to be the
    address that was asked. No page can set either header.
    """
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    host = headers.get("host", "")
    return host != "" and headers.get("origin") == f"{scheme}://{host}"


def is_from_page(headers: Mapping[str, str]) -> bool:
    """Return whether a page in a browser made the request, rather than a program."""
    return "sec-fetch-site" in headers or "origin" in headers
