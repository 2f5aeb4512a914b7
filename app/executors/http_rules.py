"""The rules of HTTP targets: which answers are good, where a redirect goes."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from app.core.secret import Unshown
from app.core.urls import Address, address, parsed_url, url_problem
from app.errors import AppError

MOST_REDIRECTS = 5
LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; a target that asks for more is asked again after this."""

DELAY_SECONDS = re.compile(r"\s*(\d{1,9})\s*")

HARMLESS = frozenset(
    {"accept", "accept-encoding", "content-type", "idempotency-key", "traceparent", "user-agent"}
)
"""Headers that may follow a redirect to another origin, beside the `Tocsin-` ones."""


def matches(status: int, rules: Collection[int | str]) -> bool:
    """Whether the status code is one of the rules: `204`, or a class such as `2xx`."""
    return f"{status // 100}xx" in rules or status in rules


def in_words(rules: Iterable[int | str]) -> str:
    return ", ".join(map(str, rules)) or "nothing"


def status_line(status: int) -> str:
    """`503 Service Unavailable`; in our words, not the target's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """What a Retry-After header asks for, from now, at most a day; None if it says nothing."""
    if value is None:
        return None
    if delay := DELAY_SECONDS.fullmatch(value):
        return min(float(delay[1]), LONGEST_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year that no integer of C holds
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


WITHOUT_LENGTH = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that say nothing about a body which they do not have."""


class Request(Unshown, frozen=True, kw_only=True):
    """One HTTP request with all that is sent."""

    method: str
    address: Address
    headers: dict[str, str]
    body: bytes

    def encoded(self) -> bytes:
        """The request as it goes over the wire (RFC 9112).

        Raises:
            ValueError: a header would end early, or is not ASCII.
        """
        origin = self.address.origin.host_port_subcomponent
        lines = [f"{self.method} {self.address.path} HTTP/1.1\r\nHost: {origin}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method not in WITHOUT_LENGTH:
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) or head.count("\r") != len(lines) or "\0" in head:
            raise ValueError("a header has a line break in it")
        return f"{head}\r\n\r\n".encode("ascii") + self.body


class BadRedirect(AppError):
    """There is no going where the target points to."""


def redirected(request: Request, status: int, location: str) -> Request:
    """The request that follows a redirect, made as browsers do; secrets stay with their origin.

    Raises:
        BadRedirect: `location` is missing or cannot be followed.
    """
    here = request.address
    try:
        url = here.url.join(parsed_url(location)).with_fragment(None)
    except ValueError as error:
        raise BadRedirect(f"the redirect's location is no URL: {error}") from None
    if problem := url_problem(str(url)):
        raise BadRedirect(f"the redirect's location {problem}")
    dropped = set()
    method, body = request.method, request.body
    see_other = status == HTTPStatus.SEE_OTHER and method != "HEAD"
    moved_post = status in (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND) and method == "POST"
    if see_other or moved_post:
        method, body = "GET", b""
        dropped.add("content-type")
    if url.origin() != here.origin:
        dropped |= {name.lower() for name in request.headers if not is_harmless(name)}
    kept = {name: text for name, text in request.headers.items() if name.lower() not in dropped}
    return Request(method=method, address=address(url), headers=kept, body=body)


def is_harmless(name: str) -> bool:
    """Whether any host may see a header of this name.

    A list of the harmless, not of the secret: who can tell what `X-Tenant` or `X-Auth` opens?
    """
    return name.lower() in HARMLESS or name.lower().startswith("tocsin-")
