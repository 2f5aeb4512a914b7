"""Which web addresses a target may have: those that all programs read in the same way.

An address that two programs read differently could pass the outgoing guard as one host and be
called as another.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from msgspec import Struct
from yarl import URL

MAX_URL_LENGTH = 2048

URL_TEXT = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""A host whose last label is a number is an IPv4 address to browsers and libc."""
AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<text>[^/?#]*)")
PORT = re.compile(r"[0-9]{0,5}", re.ASCII)
PLAIN = re.compile(
    r"(https?://[A-Za-z0-9._:\[\]-]+)((?:[/?][A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]*)?)", re.IGNORECASE
)
"""An origin, and a path and query without a character on which reading the origin could depend."""
MAX_ORIGINS = 4096
"""Origins kept as already read; jobs often share one."""
MAX_ADDRESSES = 1024
"""Addresses kept as already matched, each of `MAX_URL_LENGTH` at most where it is valid."""


class Address(Struct, frozen=True):
    """Where a request goes: the origin, and the path there."""

    origin: URL
    path: str
    """The path and query, as written."""
    place: str
    """The text of the origin, without its usual port; letters of a name are as written."""
    host: str
    """Its host, with a port that is not the usual one, as the field `Host` of a request has it."""

    @property
    def url(self) -> URL:
        return URL(f"{self.origin}{self.path}", encoded=True)


@lru_cache(maxsize=MAX_ADDRESSES)
def matched(url: str) -> re.Match[str] | None:
    """Match a URL with `PLAIN`: each is asked for twice at least, once it is checked."""
    return PLAIN.fullmatch(url)


def address(url: str | URL) -> Address:
    """Read an address in which `url_error` found no error."""
    if not isinstance(url, URL) and (plain := matched(url)):
        path = plain[2]
        here, place, host = origin(plain[1])
        return Address(here, path if path.startswith("/") else f"/{path}", place, host)
    parsed = URL(url, encoded=True)
    here = parsed.origin()
    return Address(here, parsed.raw_path_qs, str(here), here.host_port_subcomponent or "")


@lru_cache(maxsize=MAX_ORIGINS)
def origin(url: str) -> tuple[URL, str, str]:
    """Return the origin of a URL, its text, and the host as a request names it."""
    here = URL(url, encoded=True).origin()
    return here, str(here), here.host_port_subcomponent or ""


def url_error(url: str) -> str | None:
    """Say why a target cannot have this URL, and what to write instead; None if it can."""
    if plain := matched(url):
        return origin_error(plain[1])
    return next(url_errors(url), None)


@lru_cache(maxsize=MAX_ORIGINS)
def origin_error(url: str) -> str | None:
    return next(url_errors(url), None)


def url_errors(url: str) -> Iterator[str]:
    if not url.lower().startswith(("http://", "https://")):
        yield "must start with http:// or https://"
    if not URL_TEXT.fullmatch(url):
        yield "may have only the characters of RFC 3986: percent-encode all others (IDN as xn--)"
    authority = AUTHORITY.match(url)
    if authority and (error := authority_error(authority["text"])):
        yield error
    if "#" in url:
        yield "has a fragment, which is never sent: remove it"
    try:
        parsed = parsed_url(url)
        host, port = parsed.raw_host or "", parsed.port
    except ValueError as error:
        yield f"is no URL: {error}"
        return
    if parsed.raw_user is not None or parsed.raw_password is not None:
        yield 'may hold no user and password: use auth {"type": "basic", ...}'
    if not host or port == 0:
        yield "needs a host, and a port from 1 to 65535 where one is given"
    if ":" not in host:
        yield from host_name_errors(host)


def host_of(url: URL) -> str:
    """Return the host as it is judged, bound and connected to: as written, with `xn--` kept.

    Decoding a name and encoding it again could yield another name, as there are two encodings
    (IDNA 2003 and 2008). The zone of an IPv6 address is percent-decoded.
    """
    host = url.raw_host or ""
    return host.replace("%25", "%") if ":" in host else host


def authority_error(text: str) -> str | None:
    """Say which part of user, host and port different programs would read differently."""
    user, at, place = text.rpartition("@")
    if at and not user:
        return "has an empty user: remove the @"
    port = place.rpartition("]")[2].partition(":")
    if port[1] and not PORT.fullmatch(port[2]):
        return "needs a host, and a port from 1 to 65535 where one is given, in digits only"
    return None


def parsed_url(url: str) -> URL:
    """Parse a URL without decoding it.

    Raises:
        ValueError: the text is no URL.
    """
    try:
        return URL(url, encoded=True)
    except IndexError:  # raised by yarl for a user without a host: `http://[v1.a]@`
        raise ValueError("it has no host") from None


def host_name_errors(host: str) -> Iterator[str]:
    labels = host.removesuffix(".").split(".")
    if not all(map(LABEL.fullmatch, labels)):
        yield f"has an impossible host name: {host}"
    elif NUMBER.fullmatch(labels[-1]) and not is_address(host):
        yield "has an address that programs read in different ways: write four decimal numbers"


def is_address(host: str) -> bool:
    try:
        return str(IPv4Address(host)) == host
    except ValueError:
        return False
