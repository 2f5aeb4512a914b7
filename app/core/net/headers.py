"""Which header names and values may be sent (RFC 9110), and which are ours to set."""

import re
from collections.abc import Iterable, Mapping

from app.errors import FieldError

MAX_HEADERS = 100
MAX_HEADERS_LENGTH = 16_384
"""Characters of all names and values together."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TEXT = re.compile(r"[\t\x20-\x7e]*")

CONNECTION = re.compile(
    r"connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*"
)
OURS = re.compile(r"idempotency-key|traceparent|tocsin-.*")
REPLACEABLE = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
"""Set by Tocsin unless the target sets them."""
REFUSED = range(400, 500)
MARK = re.compile(r"[^0-9a-z-]")


def name_as_read(name: str) -> str:
    """The name as servers with CGI variables tell it from others: in lower case, `-` for any mark.

    RFC 3875 4.1.18 makes `HTTP_CONTENT_LENGTH` of both `Content-Length` and `Content_Length`; some
    servers make it of `Content.Length` too.
    """
    return MARK.sub("-", name.lower())


def name_error(name: str) -> str | None:
    """Why a header of this name cannot be sent."""
    if not TOKEN.fullmatch(name):
        return "is no header name: use letters, digits and hyphens"
    read = name_as_read(name)
    mistaken = "" if read == name.lower() else f"is read as {read} by many servers, which "
    if CONNECTION.fullmatch(read):
        return f"{mistaken}belongs to the connection and is set for you: remove it"
    if OURS.fullmatch(read):
        return f"{mistaken}is set by Tocsin on every request: remove it"
    if mistaken and read in REPLACEABLE:
        return f"{mistaken}is sent as well: write {read.title()}"
    return None


def dropping_hint(status: int, names: Iterable[str]) -> str:
    """What to say of a refused request whose headers the receiver may never have seen."""
    for name in names:
        if "_" in name and status in REFUSED:
            return f"; the header {name} may not have arrived: nginx and others drop names with _"
    return ""


def value_error(value: str) -> str | None:
    """Why a header cannot have this value; never quotes it, as it may be a secret."""
    if not TEXT.fullmatch(value):
        return "must be visible ASCII: percent-encode or base64 anything else, and no line breaks"
    return None


def header_errors(headers: Mapping[str, str], *, field: str) -> Iterable[FieldError]:
    """What is wrong with the headers in `field`, each by its name."""
    seen: set[str] = set()
    for name, value in headers.items():
        problem = name_error(name) or value_error(value)
        if problem is None and name_as_read(name) in seen:
            problem = "is given twice: header names do not differ in case, nor - from _ for many"
        if problem:
            yield FieldError(field=f"{field}.{name}", message=problem)
        seen.add(name_as_read(name))
    if len(headers) > MAX_HEADERS:
        yield FieldError(field=field, message=f"may have at most {MAX_HEADERS} entries")
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_LENGTH:
        message = f"may have at most {MAX_HEADERS_LENGTH} characters in all"
        yield FieldError(field=field, message=message)
