"""The rules of SMTP targets: which servers, addresses and headers a mail can have."""

import re
from collections.abc import Iterator, Mapping
from email.headerregistry import Address
from functools import lru_cache

from yarl import URL

from app.core.field_paths import joined
from app.core.net.urls import AUTHORITY, authority_error, host_name_errors, host_of, parsed_url
from app.errors import FieldError

DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
"""The ports of submission (RFC 8314), by scheme."""
MAX_RECIPIENTS = 100
"""The most recipients of a mail, which every server takes (RFC 5321, 4.5.3.1.8)."""
MAX_ADDRESS_LENGTH = 254
MAX_LOCAL_LENGTH = 64
"""The most characters of an address, and of its part before the @ (RFC 5321, 4.5.3.1)."""
MAX_LINE_LENGTH = 998
"""The most characters of a header's value; so long is the longest line (RFC 5322, 2.1.1)."""
MAX_HEADERS = 50

HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,75}")
LINE = re.compile(r"[^\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]*")
"""A text without line breaks and other control characters, none of which a header may have."""
LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
BARE = re.compile(rf"(?P<local>{LOCAL})@(?P<domain>{DOMAIN})")
"""An address without quotes, comments and address literals, which few servers have (RFC 5321)."""
NAMED = re.compile(r'(?P<name>"[^"\\<>]*" *|[^"\\<>]*)<(?P<bare>[^<>\s]+)>')
OURS = re.compile(
    r"from|sender|to|cc|bcc|reply-to|subject|date|message-id|auto-submitted|mime-version"
    r"|content-.*|received|return-path|resent-.*|dkim-.*|arc-.*|traceparent|tocsin-.*"
)
"""Headers that have fields of their own, or that Tocsin or the servers set."""


def url_error(url: str) -> str | None:
    """Say why no mail server can be at `url`, and what to write instead; None if one can."""
    return next(url_errors(url), None)


def url_errors(url: str) -> Iterator[str]:
    if not url.lower().startswith(("smtp://", "smtps://")):
        yield "must start with smtp:// or smtps://"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or "%" in url:
        yield "may have visible ASCII only, and nothing percent-encoded"
    authority = AUTHORITY.match(url)
    if authority is None or authority.end() < len(url.removesuffix("/")):
        yield "has a server only, such as smtp://mail.example.com:587: leave out all behind it"
        return
    if "@" in authority["text"]:
        yield "may hold no user and password: use username and password"
    if error := authority_error(authority["text"]):
        yield error
    try:
        parsed = parsed_url(url)
        host, port = host_of(parsed), parsed.port
    except ValueError as error:
        yield f"is no URL: {error}"
        return
    if not host or port == 0:
        yield "needs a host, and a port from 1 to 65535 where one is given"
    elif ":" not in host:
        yield from host_name_errors(host)


def server_of(url: str) -> tuple[str, int]:
    """Return host and port of a URL in which `url_error` found no error."""
    parsed = URL(url, encoded=True)
    return host_of(parsed), parsed.port or DEFAULT_PORTS[parsed.scheme.lower()]


@lru_cache(maxsize=4096)
def mailbox(text: str) -> Address:
    """Read one address, `me@example.com` or `Me <me@example.com>`.

    Raises:
        ValueError: saying why it is none.
    """
    if not LINE.fullmatch(text) or len(text) > MAX_LINE_LENGTH:
        raise ValueError("may have no line breaks or other control characters")
    named = NAMED.fullmatch(text.strip())
    bare = BARE.fullmatch(named["bare"] if named else text.strip())
    if bare is None or len(bare[0]) > MAX_ADDRESS_LENGTH or len(bare["local"]) > MAX_LOCAL_LENGTH:
        raise ValueError("is no address: write me@example.com, or Me <me@example.com>, one of them")
    name = named["name"].strip().strip('"').strip() if named else ""
    return Address(display_name=name, username=bare["local"], domain=bare["domain"])


def address_error(text: str) -> str | None:
    try:
        mailbox(text)
    except ValueError as error:
        return str(error)
    return None


def line_error(text: str | None) -> str | None:
    """Say why a header cannot have this value; None if it can."""
    if text is not None and not LINE.fullmatch(text):
        return "may have no line breaks or other control characters"
    if text is not None and len(text) > MAX_LINE_LENGTH:
        return f"may have at most {MAX_LINE_LENGTH} characters"
    return None


def header_errors(headers: Mapping[str, str]) -> Iterator[FieldError]:
    """Check the headers of a mail beside those that have fields of their own."""
    if len(headers) > MAX_HEADERS:
        yield FieldError(field="headers", message=f"may have at most {MAX_HEADERS} entries")
    seen: set[str] = set()
    for name, value in headers.items():
        problem = line_error(value)
        if not HEADER_NAME.fullmatch(name):
            problem = "is no header name: use letters, digits and hyphens"
        elif OURS.fullmatch(name.lower()):
            problem = "has a field of its own, or is set for you: remove it"
        elif name.lower() in seen:
            problem = "is given twice: header names do not differ in case"
        if problem:
            yield FieldError(field=joined("headers", name), message=problem)
        seen.add(name.lower())
