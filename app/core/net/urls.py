"""Which web addresses can be called: one reading only, whatever reads them."""

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
"""A last label that makes browsers and libc take the host for an IPv4 address."""
AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<text>[^/?#]*)")
PORT = re.compile(r"[0-9]{0,5}", re.ASCII)
PLAIN = re.compile(
    r"(https?://[A-Za-z0-9._:\[\]-]+)((?:[/?][A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]*)?)", re.IGNORECASE
)
"""An origin, which is read once however many addresses have it, and what no reading of the origin
can depend on."""
MAX_ORIGINS = 4096


class Address(Struct, frozen=True):
    """Where a request goes: to whom, and what it asks for there."""

    origin: URL
    path: str
    """And query, as written."""

    @property
    def url(self) -> URL:
        return URL(f"{self.origin}{self.path}", encoded=True)


def address(url: str | URL) -> Address:
    """Read an address that `url_problem` has nothing against."""
    if not isinstance(url, URL) and (plain := PLAIN.fullmatch(url)):
        path = plain[2]
        return Address(origin(plain[1]), path if path.startswith("/") else f"/{path}")
    parsed = URL(url, encoded=True)
    return Address(parsed.origin(), parsed.raw_path_qs)


@lru_cache(maxsize=MAX_ORIGINS)
def origin(url: str) -> URL:
    return URL(url, encoded=True).origin()


def url_error(url: str) -> str | None:
    """Why a request cannot go to `url`, and what to write instead."""
    if plain := PLAIN.fullmatch(url):
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
    """The host as it is judged, bound and connected to: as it is written, so `xn--` stays `xn--`.

    To decode a name and encode it again can lead to another one: there are two ways (IDNA 2003 and
    2008). Of an address of IPv6 the zone is decoded.
    """
    host = url.raw_host or ""
    return host.replace("%25", "%") if ":" in host else host


def authority_error(text: str) -> str | None:
    """Say what of user, host and port programs read in different ways."""
    user, at, place = text.rpartition("@")
    if at and not user:
        return "has an empty user: remove the @"
    port = place.rpartition("]")[2].partition(":")
    if port[1] and not PORT.fullmatch(port[2]):
        return "needs a host, and a port from 1 to 65535 where one is given, in digits only"
    return None


def parsed_url(url: str) -> URL:
    """Take an address as it is written.

    Raises:
        ValueError: it is none.
    """
    try:
        return URL(url, encoded=True)
    except IndexError:  # yarl, of `http://[v1.a]@`: nothing between a user and the path
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
