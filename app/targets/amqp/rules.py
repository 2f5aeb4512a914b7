"""The rules of AMQP targets: which addresses, names and headers a message can have."""

import re
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw
from yarl import URL

from app.core.net.headers import MAX_HEADERS_LENGTH, OURS
from app.core.net.urls import AUTHORITY, authority_error, host_name_errors, host_of

MAX_NAME_LENGTH = 255
"""The most bytes of a short string."""
MAX_HEADER_NAME_LENGTH = 128
"""The most bytes of a header's name; the client would cut off the end of a longer one."""
DEEPEST_TABLE = 16
ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
INTEGERS = range(-(2**63), 2**63)


def url_error(url: str) -> str | None:
    """Say why no broker can be at `url`, and what to write instead, without quoting the URL."""
    return next(url_errors(url), None)


def url_errors(url: str) -> Iterator[str]:
    if not url.lower().startswith(("amqp://", "amqps://")):
        yield "must start with amqp:// or amqps://"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        yield "may have visible ASCII only: percent-encode all else, in the password too"
    if "?" in url or "#" in url:
        yield "may have no query: TLS and heartbeats need no options (in a password write %3F, %23)"
    authority = AUTHORITY.match(url)
    if authority and (error := authority_error(authority["text"])):
        yield error
    try:
        parsed = URL(url, encoded=True)
        host, port = host_of(parsed), parsed.port
    except (ValueError, IndexError):  # the latter is yarl's, of `amqp://[v1.a]@`
        yield "is no URL: percent-encode what is special in the user and password"
        return
    if not host or port == 0:
        yield "needs a host, and a port from 1 to 65535 where one is given"
    elif ":" not in host:
        yield from host_name_errors(host)
    yield from vhost_problems(parsed.raw_path)


def vhost_problems(path: str) -> Iterator[str]:
    """Say which parts of a virtual host, as written in a URL, can be read in two ways."""
    if ESCAPE.search(path):
        yield "has a % in the virtual host that is no escape: write %25"
    if "%252f" in path.lower():
        yield "has %252F in the virtual host, which the client takes for a /: write %2F for a /"
    if "/" in path.removeprefix("/"):
        yield "has more than one path segment: a / in the virtual host is written %2F"


def name_error(name: str | None) -> str | None:
    """Say why a property or name cannot be sent; None if it can."""
    if name is not None and len(name.encode()) > MAX_NAME_LENGTH:
        return f"may have at most {MAX_NAME_LENGTH} bytes"
    return None


def headers_error(headers: dict[str, Any]) -> str | None:
    """Say why headers cannot be sent as a table; names the header, and never quotes its value."""
    for name in headers:
        if OURS.fullmatch(name.lower()):
            return f"{name} is set by Tocsin on every message: remove it"
    if problem := next(table_errors(headers, "", 1), None):
        return problem
    if len(msgspec.json.encode(headers)) > MAX_HEADERS_LENGTH:
        return f"may have at most {MAX_HEADERS_LENGTH} bytes as JSON"
    return None


def table_errors(value: object, name: str, depth: int) -> Iterator[str]:
    """Say which parts of a JSON value have no equal in an AMQP table."""
    match value:
        case dict() | list() if depth > DEEPEST_TABLE:
            yield f"{name} is nested more than {DEEPEST_TABLE} deep"
        case dict():
            for key, item in value.items():
                if not 1 <= len(key.encode()) <= MAX_HEADER_NAME_LENGTH:
                    yield f"names have 1 to {MAX_HEADER_NAME_LENGTH} bytes: {key[:40]!r}"
                yield from table_errors(item, key, depth + 1)
        case list():
            for item in value:
                yield from table_errors(item, name, depth + 1)
        case int() if value not in INTEGERS:
            yield f"{name} is an integer of more than 64 bits: write a string"
        case Raw() | float() if isinstance(value, Raw) or not is_single(value):
            yield f"{name} would be rounded, numbers are sent in 32 bits: write a string or integer"
        case _:
            pass


def is_single(number: float) -> bool:
    """Return whether a float of 32 bits, as the client encodes some, keeps the number's value."""
    try:
        return bool(struct.unpack("f", struct.pack("f", number))[0] == number)
    except OverflowError:
        return False
