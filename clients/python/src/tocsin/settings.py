"""Which API a client means, and how patient it is."""

import os
import warnings
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from tocsin.calls import Call
from tocsin.errors import (
    Conflict,
    Failed,
    NotConnected,
    RateLimited,
    Refused,
    TocsinError,
    Unavailable,
    Unreachable,
)

URL = "TOCSIN_URL"
KEY = "TOCSIN_API_KEY"
"""The variables that the command `tocsin` reads as well."""
DEFAULT_URL = "http://127.0.0.1:8080"
"""Where `tocsin dev` serves."""
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
UNDER_WAY = "request-under-way"


class Settings(Struct, frozen=True, kw_only=True):
    """What a client goes by."""

    url: str
    """Without a slash at its end."""
    key: str | None
    timeout_seconds: float
    """How long each part of a request may take: to connect, to send, to wait for the answer."""
    attempts: int
    """How often a request is sent at most."""
    patience_seconds: float
    """How long a request may be tried again, and a wait that the API asks for may be."""

    def __repr__(self) -> str:
        return f"<Settings: {self.url}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url)]

    @property
    def headers(self) -> dict[str, str]:
        """What each request has."""
        return {"User-Agent": "tocsin-client"} | (
            {"Authorization": f"Bearer {self.key}"} if self.key else {}
        )

    def retries(
        self, call: Call[object], error: Exception, *, spent_seconds: float = 0.0
    ) -> bool | float:
        """Say whether a call that failed is sent again: no, yes, or after so many seconds."""
        if not isinstance(error, TocsinError) or not may_help(call, error):
            return False
        wait = error.retry_after if isinstance(error, Refused) else None
        if wait is None:
            return True
        return wait if spent_seconds + wait <= self.patience_seconds else False


def may_help(call: Call[object], error: TocsinError) -> bool:
    """Return whether a call may be sent again, and whether that may help."""
    match error:
        case NotConnected() | RateLimited():
            return True  # nothing was done
        case Unreachable() | Unavailable():
            return call.is_repeatable
        case Conflict():
            return call.is_repeatable and error.kind == UNDER_WAY
        case Failed():
            return False
        case _:
            return False


def settings_for(
    url: str | None, key: str | None, *, timeout: float, attempts: int, patience: float
) -> Settings:
    """Check what a client is given, and read from the environment what it is not.

    Raises:
        ValueError: an address or a key is none.
    """
    place = (url or os.environ.get(URL) or DEFAULT_URL).rstrip("/")
    try:
        parts = urlsplit(place)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"{place!r} is no address of an API: write one such as https://tocsin.example.com"
        raise ValueError(message)
    if parts.username is not None or parts.query or parts.fragment:
        message = "the address of the API has a user, a query or a fragment: leave that out"
        raise ValueError(message)
    secret = key or os.environ.get(KEY) or None
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        message = f"the API key has a space or a sign that no key has: see what {KEY} is set to"
        raise ValueError(message)
    if secret and parts.scheme == "http" and parts.hostname not in LOCAL:
        message = "the API key goes over the network unencrypted: use https"
        warnings.warn(message, stacklevel=3)
    if attempts < 1:
        raise ValueError(f"attempts={attempts}: write at least 1")
    return Settings(
        url=place,
        key=secret,
        timeout_seconds=timeout,
        attempts=attempts,
        patience_seconds=patience,
    )
