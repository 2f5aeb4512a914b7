"""Which header names and values may be sent (RFC 9110), and which are ours to set."""

import re
from collections.abc import Iterable, Mapping

from app.errors import FieldError

MOST_HEADERS = 100
LONGEST_HEADERS = 16_384
"""Characters of all names and values together."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TEXT = re.compile(r"[\t\x20-\x7e]*")

CONNECTION = re.compile(
    r"connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*"
)
OURS = re.compile(r"idempotency-key|traceparent|tocsin-.*")


def name_problem(name: str) -> str | None:
    """Why a header of this name cannot be sent."""
    if not TOKEN.fullmatch(name):
        return "is no header name: use letters, digits and hyphens"
    if CONNECTION.fullmatch(name.lower()):
        return "belongs to the connection and is set for you: remove it"
    if OURS.fullmatch(name.lower()):
        return "is set by Tocsin on every request: remove it"
    return None


def value_problem(value: str) -> str | None:
    """Why a header cannot have this value; never quotes it, as it may be a secret."""
    if not TEXT.fullmatch(value):
        return "must be visible ASCII: percent-encode or base64 anything else, and no line breaks"
    return None


def header_problems(headers: Mapping[str, str], *, field: str) -> Iterable[FieldError]:
    """What is wrong with the headers in `field`, each by its name."""
    seen: set[str] = set()
    for name, value in headers.items():
        problem = name_problem(name) or value_problem(value)
        if problem is None and name.lower() in seen:
            problem = "is given twice: header names do not differ in case"
        if problem:
            yield FieldError(field=f"{field}.{name}", message=problem)
        seen.add(name.lower())
    if len(headers) > MOST_HEADERS:
        yield FieldError(field=field, message=f"may have at most {MOST_HEADERS} entries")
    if sum(len(name) + len(value) for name, value in headers.items()) > LONGEST_HEADERS:
        message = f"may have at most {LONGEST_HEADERS} characters in all"
        yield FieldError(field=field, message=message)
