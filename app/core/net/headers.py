"""Which headers a target may send (RFC 9110), and which ones Tocsin sets itself."""

import re
from collections.abc import Iterable, Mapping
from itertools import islice

from app.core.field_paths import joined
from app.errors import FieldError

MAX_HEADERS = 100
MAX_HEADERS_LENGTH = 16_384
"""The most characters of all header names and values of a target together."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TEXT = re.compile(r"[\t\x20-\x7e]*")

CONNECTION = re.compile(
    r"connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*"
)
OURS = re.compile(r"idempotency-key|traceparent|tocsin-.*")
"""Headers that Tocsin sets on every request."""
REPLACEABLE = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
"""Headers that Tocsin sets unless the target has them."""
REFUSED = range(400, 500)
MARK = re.compile(r"[^0-9a-z-]")


def name_as_read(name: str) -> str:
    """Return a header's name as servers with CGI variables compare it.

    The name is in lower case, with `-` for each character that is no letter or digit: by RFC 3875,
    4.1.18, `Content-Length` and `Content_Length` both become `HTTP_CONTENT_LENGTH`, and in some
    servers `Content.Length` does too.
    """
    return MARK.sub("-", name.lower())


def name_error(name: str) -> str | None:
    """Say why a target cannot send a header of this name; return None for one that is allowed."""
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
    """Return a hint for a refused request with a header that servers may have dropped."""
    for name in names:
        if "_" in name and status in REFUSED:
            return f"; the header {name} may not have arrived: nginx and others drop names with _"
    return ""


def value_error(value: str) -> str | None:
    """Say why a header cannot have this value, without quoting it: the value may be a secret."""
    if not TEXT.fullmatch(value):
        return "must be visible ASCII: percent-encode or base64 anything else, and no line breaks"
    return None


def header_errors(headers: Mapping[str, str], *, field: str) -> Iterable[FieldError]:
    """Check the headers in the target's `field`; of too many, the first `MAX_HEADERS`."""
    seen: set[str] = set()
    for name, value in islice(headers.items(), MAX_HEADERS):
        problem = name_error(name) or value_error(value)
        if problem is None and name_as_read(name) in seen:
            problem = "is given twice: header names do not differ in case, nor - from _ for many"
        if problem:
            yield FieldError(field=joined(field, name), message=problem)
        seen.add(name_as_read(name))
    if len(headers) > MAX_HEADERS:
        yield FieldError(field=field, message=f"may have at most {MAX_HEADERS} entries")
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_LENGTH:
        message = f"may have at most {MAX_HEADERS_LENGTH} characters in all"
        yield FieldError(field=field, message=message)
