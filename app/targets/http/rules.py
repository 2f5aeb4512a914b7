"""The rules of HTTP targets: which answers count as success, and where a redirect leads."""

import re
from collections.abc import Collection, Iterable
from datetime import MAXYEAR, UTC, datetime
from email.utils import parsedate_tz
from http import HTTPStatus
from urllib.parse import quote

from app.core.net.headers import OURS, REPLACEABLE
from app.core.net.urls import Address, address, parsed_url, url_error
from app.core.secrets.masking import Unshown, holds
from app.errors import AppError

MAX_REDIRECTS = 5
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""The longest wait that a Retry-After header can ask for: a day."""

DELAY_SECONDS = re.compile(r"\s*[0-9]+(\.[0-9]*)?\s*")


def matches(status: int, rules: Collection[int | str]) -> bool:
    """Return whether the status code is among the rules: codes, and classes such as `2xx`.

    A code of no class counts as an error of the server (RFC 9110, section 15).
    """
    return f"{min(status // 100, 5)}xx" in rules or status in rules


def in_words(rules: Iterable[int | str]) -> str:
    return ", ".join(map(str, rules)) or "nothing"


def status_line(status: int) -> str:
    """Return a status as `503 Service Unavailable`, with Python's phrase, not the server's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


UNIX_SECONDS = 1e9
"""From this number on (thirty years) what a server calls seconds is an instant: that of 2001."""
UNIX_MILLISECONDS = 1e12
"""From this number on it is an instant in milliseconds."""


def retry_after_seconds(values: Iterable[str], *, now: datetime) -> float | None:
    """Return the longest wait that Retry-After lines ask for; None if none can be read.

    At most `MAX_RETRY_AFTER_SECONDS`.
    """
    waits = [wait for value in values if (wait := asked_seconds(value, now=now)) is not None]
    return max(waits, default=None)


def asked_seconds(value: str, *, now: datetime) -> float | None:
    """Read one value: seconds, maybe with a fraction or in a list, or a date in a form of HTTP."""
    numbers = value.split(",")
    if all(map(DELAY_SECONDS.fullmatch, numbers)):
        return min(max(map(float, numbers)), MAX_RETRY_AFTER_SECONDS)
    parts = parsedate_tz(value)
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    if year > MAXYEAR:
        return MAX_RETRY_AFTER_SECONDS
    try:
        until = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    seconds = (until - now).total_seconds() - (parts[9] or 0)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def reset_seconds(values: Iterable[str], *, now: datetime) -> float | None:
    """Return the longest wait that X-RateLimit-Reset lines ask for; None if none can be read.

    No standard has the field: some servers write seconds, some the Unix time, in seconds or in
    milliseconds, some a date. At most `MAX_RETRY_AFTER_SECONDS`.
    """
    waits: list[float] = []
    for value in values:
        if not DELAY_SECONDS.fullmatch(value):
            wait = asked_seconds(value, now=now)
        else:
            wait = float(value)
            if wait >= UNIX_MILLISECONDS:
                wait /= 1000
            if wait >= UNIX_SECONDS:
                wait -= now.timestamp()
        if wait is not None:
            waits.append(min(max(wait, 0.0), MAX_RETRY_AFTER_SECONDS))
    return max(waits, default=None)


WITHOUT_LENGTH = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose requests have no Content-Length if they have no body."""


class Request(Unshown, frozen=True, kw_only=True):
    """One HTTP request with all that is sent."""

    method: str
    address: Address
    headers: dict[str, str]
    body: bytes

    def encoded(self) -> bytes:
        """Return the bytes of the request (RFC 9112).

        Raises:
            ValueError: a header would end early, or is not ASCII.
        """
        to = self.address
        lines = [f"{self.method} {to.path} HTTP/1.1", f"Host: {to.host}"]
        lines += map(": ".join, self.headers.items())
        if self.body or self.method not in WITHOUT_LENGTH:
            lines.append(f"Content-Length: {len(self.body)}")
        said = "".join(lines)
        if "\n" in said or "\r" in said or "\0" in said:
            raise ValueError("a header has a line break in it")
        head = "\r\n".join(lines)
        return f"{head}\r\n\r\n".encode("ascii") + self.body


class BadRedirect(AppError):
    """A redirect that cannot be followed."""


LEAVES_ORIGIN = (
    "the redirect would take a secret to another scheme, host or port: write the address it leads "
    "to as url, if that is trusted"
)


def redirected(
    request: Request, status: int, location: str, *, secrets: Collection[str] = ()
) -> Request:
    """Return the request that follows a redirect, as browsers make it.

    At another origin it has only headers that are harmless and hold none of `secrets`.

    Raises:
        BadRedirect: `location` is missing, cannot be followed, or would take a secret along.
    """
    here = request.address
    try:
        url = here.url.join(parsed_url(location)).with_fragment(None)
        text = str(url)  # a port is read no sooner
    except ValueError as error:
        raise BadRedirect(f"the redirect's location is no URL: {error}") from None
    if problem := url_error(text):
        raise BadRedirect(f"the redirect's location {problem}")
    dropped = set()
    method, body = request.method, request.body
    see_other = status == HTTPStatus.SEE_OTHER and method != "HEAD"
    moved_post = status in (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND) and method == "POST"
    if see_other or moved_post:
        method, body = "GET", b""
        dropped.add("content-type")
    if url.origin() != here.origin:
        if holds(secrets, location) or holds(secrets, body.decode(errors="replace")):
            raise BadRedirect(LEAVES_ORIGIN)
        dropped |= {
            name.lower()
            for name, text in request.headers.items()
            if not may_leave(name, text, secrets)
        }
    kept = {name: text for name, text in request.headers.items() if name.lower() not in dropped}
    return Request(method=method, address=address(url), headers=kept, body=body)


def may_leave(name: str, text: str, secrets: Collection[str]) -> bool:
    """Return whether a header may be sent to a host that a redirect leads to.

    True for headers that Tocsin sets, and for names on a list of harmless ones unless a secret is
    in the text. There is no list of secret names, as any name, such as `X-Tenant` or `X-Auth`, may
    be of a secret.
    """
    if OURS.fullmatch(name.lower()):
        return True
    return name.lower() in REPLACEABLE and not any(secret in text for secret in secrets)


VISIBLE = re.compile(r"[ -$&-~]*")
"""The characters of a header's value that need no percent-encoding."""
UNQUOTED = "".join(filter(VISIBLE.fullmatch, map(chr, range(0x80))))


def visible(text: str) -> str:
    """Return a text percent-encoded where a header's value cannot have its characters."""
    return text if VISIBLE.fullmatch(text) else quote(text, safe=UNQUOTED)


def overlaid(headers: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """Return `headers` with `others` added, which replace the same names in any case."""
    if not others:
        return headers
    theirs = {name.lower() for name in others}
    return {name: value for name, value in headers.items() if name.lower() not in theirs} | others
