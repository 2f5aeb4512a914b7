"""Reverse proxies in front of the API: which headers they send, and whose headers are trusted."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from msgspec import Struct

from app.core.net.clients import address_in

FORWARDING = re.compile(
    r"(x-)?(original-)?forwarded(-.*)?|via|max-forwards|x-proxy.*|proxy-(client|connection|for).*"
    r"|(.*-)?(client|real|connecting|remote|originating|source|user|peer|external)[-_]?(ip|addr|address|host|port)(v[46])?"
    r"|cf-.*|cdn-.*|fastly-.*|fly-.*|akamai-.*|x-(akamai|azure|amzn|amz-cf|appengine|envoy|vercel|nf|arr|gfe|cloud)-.*"
    r"|x-(original|rewrite)-.*|x-(host|scheme|url-scheme|ssl|https|server-name|script-name|varnish|haproxy.*)"
    r"|front-end-https|wl-proxy-.*|ssl-client-.*|x-ssl-.*|x-client-(cert|verify|dn).*|x-cluster-.*",
    re.IGNORECASE,
)
"""Names of headers with which proxies say that a request was forwarded, and for which client."""
SCHEMES = ("http", "https")


def speaks_of_a_proxy(names: Iterable[str]) -> bool:
    """Return whether one of these names is that of a proxy's header; `_` counts as `-`."""
    return any(FORWARDING.fullmatch(name.replace("_", "-")) for name in names)


class Proxies(Struct, frozen=True):
    """The proxies that the operator trusts to name the client of a request."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Read addresses and networks.

        Raises:
            ValueError: an entry is neither an address nor a network.
        """
        return cls(tuple(ip_network(entry) for entry in entries))

    def trusts(self, host: str) -> bool:
        """Return whether this is the address of a trusted proxy."""
        address = address_in(host)
        return address is not None and any(address in network for network in self.networks)

    def client(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """Return the address of a request's client: the last one that is no trusted proxy's.

        Each proxy appends the address from which it received the request to X-Forwarded-For.
        Entries before the last untrusted address can be forged, and reading stops at an entry that
        is no address.
        """
        client = peer
        chain = [one.strip() for line in forwarded_for for one in line.split(",")]
        while chain and self.trusts(client):
            address = address_in(without_port(chain.pop()))
            if address is None:
                break
            client = str(address)
        return client


def without_port(text: str) -> str:
    """Drop the port that some proxies write: `192.0.2.7:4711`, `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.rpartition(":")
    return host if colon and ":" not in host and port.isdecimal() else text
