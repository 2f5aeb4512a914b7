"""Bindings of named secrets: the hosts that a secret may be sent to, and those of a target."""

from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

from msgspec import Struct

from app.core.net.egress import MAX_HOST_LENGTH, NAME, Listed, normalized
from app.core.net.urls import host_of, parsed_url

MAX_HOSTS = 100
"""Hosts that one secret may be bound to."""
DEFAULT_PORTS = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671, "smtp": 587, "smtps": 465}

WITH_TLS = frozenset({"amqps", "https", "smtps"})
"""Schemes that begin with TLS."""


class Destination(Struct, frozen=True):
    """A destination that a secret may be sent to, or that a target would send it to."""

    host: str
    scheme: str | None = None
    """None stands for any scheme; the port is then None too, for any port."""
    port: int | None = None
    is_verified: bool = True
    """Whether who answers there has to prove that it is that host, where TLS is spoken."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.scheme is None else f"{self.scheme}://{host}:{self.port}"


def destination_in(text: str) -> Destination:
    """Read a host, or an origin such as `https://host:8443`.

    Raises:
        ValueError: the text is a URL with more than an origin, or of an unknown scheme.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Destination(normalized(text))
    scheme = scheme.lower()
    if scheme not in DEFAULT_PORTS or any(character in rest for character in "/?#@%"):
        raise ValueError("it is no origin")
    parsed = parsed_url(f"{scheme}://{rest}")
    return Destination(normalized(host_of(parsed)), scheme, parsed.port or DEFAULT_PORTS[scheme])


def host_error(text: str) -> str | None:
    """Say why a secret cannot be bound to a text; return None for a host or an origin."""
    with suppress(ValueError):
        host = destination_in(text).host
        if len(text) <= MAX_HOST_LENGTH and (NAME.fullmatch(host) or is_address(host)):
            return None
    return (
        f"{text[:MAX_HOST_LENGTH]!r} is no host: write api.example.com, *.example.com, an address, "
        "or with scheme and port https://api.example.com:8443"
    )


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def strangers(bound_to: Collection[str], places: Collection[Destination]) -> list[Destination]:
    """Return those of the places that a secret bound to `bound_to` may not be sent to.

    A secret bound to no host may be sent anywhere. `*.example.com` binds to all names below
    `example.com`. A host without a scheme binds to every port; an origin to its port, which is the
    scheme's default port if it names none, and to a host that proves to be it.
    """
    if not bound_to:
        return []
    entries = []
    for text in bound_to:
        with suppress(ValueError):
            entries.append(destination_in(text))
    return sorted((one for one in places if not is_bound(one, entries)), key=str)


def is_bound(destination: Destination, entries: Collection[Destination]) -> bool:
    """Return whether one of the entries includes the destination."""
    hosts = [
        one.host
        for one in entries
        if one.scheme is None
        or (one.scheme, one.port, True)
        == (destination.scheme, destination.port, destination.is_verified)
    ]
    if is_address(destination.host):
        return str(ip_address(destination.host)) in {
            str(ip_address(one)) for one in hosts if is_address(one)
        }
    return Listed(hosts=frozenset(hosts)).has_host(destination.host)


def place_of(url: str) -> Destination:
    """Read where a URL leads to; the host is empty where the URL is invalid."""
    try:
        parsed = parsed_url(url)
        scheme = parsed.scheme.lower()
        port = parsed.port or DEFAULT_PORTS.get(scheme)
        host = normalized(host_of(parsed))
        return Destination(host, scheme, port) if host else Destination("")
    except ValueError:
        return Destination("")
