"""Which targets may be called: the operator's lists of hosts, networks and ports.

The allowed list wins over the denied list, and both win over the rule for the kind of an address.
Addresses are judged, not names: each address that a name resolves to is judged with the name.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Self

from msgspec import Struct

from app.config import PREFIX, Settings
from app.core.net.addresses import PRIVATE_KINDS, IPAddress, IPNetwork, Kind, carried_by, kind_of
from app.errors import InvalidSettings

ALLOWED = f"{PREFIX}ALLOWED_TARGETS"
DENIED = f"{PREFIX}DENIED_TARGETS"
PORTS = f"{PREFIX}ALLOWED_PORTS"
ALLOW_PRIVATE = f"{PREFIX}ALLOW_PRIVATE_TARGETS"

NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z_][a-z0-9_-]{0,62}")
MAX_HOST_LENGTH = 255
"""The most characters of a name; the longest that can be resolved has 254 with its final dot (RFC
1035)."""
EVERYTHING = "*"
HIGHEST_PORT = 65_535


class Listed(Struct, frozen=True, kw_only=True):
    """The hosts and networks on a list."""

    hosts: frozenset[str] = frozenset()
    """Names in lower case; `*.example.com` has every name below `example.com`, but not that."""
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Read names, addresses and networks; `*` stands for every address.

        Raises:
            ValueError: an entry is neither a name, nor an address, nor a network.
        """
        hosts, networks = set[str](), list[IPNetwork]()
        for entry in entries:
            if entry == EVERYTHING:
                networks += map(ip_network, ("0.0.0.0/0", "::/0"))
            elif NAME.fullmatch(name := normalized(entry)):
                hosts.add(name)
            else:
                networks.append(network(entry))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def has_host(self, host: str) -> bool:
        """Return whether the name, or a wildcard that matches it, is listed."""
        if len(host) > MAX_HOST_LENGTH:
            return False
        labels = normalized(host).split(".")
        above = (".".join(["*", *labels[depth:]]) for depth in range(1, len(labels)))
        return not self.hosts.isdisjoint({".".join(labels), *above})

    def has(self, address: IPAddress) -> bool:
        return any(address in network for network in self.networks)

    def has_alone(self, address: IPAddress) -> bool:
        """Return whether the address is listed by itself, not only as part of a network."""
        return any(address in network and network.num_addresses == 1 for network in self.networks)


EVERY_PORT = ((1, HIGHEST_PORT),)
WEB_PORTS = ((80, 80), (443, 443), (1024, HIGHEST_PORT))
"""The ports allowed by default: 80, 443 and all above the ports of mail, shells and other services
that could take a line of a request for a command."""


class Egress(Struct, frozen=True, kw_only=True):
    """Which targets may be called; by default public addresses on `WEB_PORTS`."""

    allowed: Listed = Listed()
    denied: Listed = Listed()
    ports: tuple[tuple[int, int], ...] = WEB_PORTS
    """Ranges: the first and the last port."""
    allow_private: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the operator's lists.

        Raises:
            InvalidSettings: a list has an invalid entry; names the variable and the entry.
        """
        variable = ALLOWED
        try:
            allowed = Listed.of(settings.allowed_targets)
            variable = DENIED
            denied = Listed.of(settings.denied_targets)
            variable = PORTS
            ports = tuple(map(port_range, settings.allowed_ports))
        except ValueError as error:
            raise InvalidSettings(f"{variable}: {error}") from None
        return cls(
            allowed=allowed,
            denied=denied,
            ports=ports or (EVERY_PORT if settings.allow_private_targets else WEB_PORTS),
            allow_private=settings.allow_private_targets,
        )

    def verdict(self, address: str, *, port: int, host: str | None = None) -> str | None:
        """Say why an address may not be called, and which setting allows it; None if it may.

        `host` is the name that resolved to the address; None if the target has the address itself.
        """
        try:
            ip = ip_address(address.partition("%")[0])  # fe80::1%eth0 is judged as fe80::1
        except ValueError:
            return f"{address} is no IP address"
        if not any(first <= port <= last for first, last in self.ports):
            return f"port {port} of {host or address} is not allowed: {PORTS} would allow it"
        called = f"{host} is at {address}, which" if host else address
        return self.refusal(ip, host or "", called)

    def host_verdict(self, host: str) -> str | None:
        """Say why a name may not even be looked up; None if it may."""
        if self.denied.has_host(host) and not self.allowed.has_host(host):
            return f"{host} is on the list {DENIED}; {ALLOWED} wins over it"
        return None

    def refusal(self, ip: IPAddress, host: str, called: str) -> str | None:
        """Judge an address, and one embedded in it; `called` is the subject of the message."""
        kind = kind_of(ip)
        if self.allowed.has_alone(ip) or (kind is not Kind.METADATA and self.allowed.has(ip)):
            if (carried := carried_by(ip)) is None:
                return None
            return self.refusal(carried, host, f"{called} leads to {carried}, which")
        ordinary = kind is None or kind in PRIVATE_KINDS
        if ordinary and self.allowed.has_host(host):
            return None
        if self.denied.has(ip):
            return f"{called} is on the list {DENIED}; {ALLOWED} wins over it"
        if kind is None or (ordinary and self.allow_private):
            return None
        return f"{called} is {kind}: {remedy(kind, ip)} would allow it"


PUBLIC_ONLY = Egress()


def remedy(kind: Kind, ip: IPAddress) -> str:
    """Name the setting that allows an address; no network allows a metadata service within it."""
    if kind is Kind.METADATA:
        return f"only {ip} itself in {ALLOWED}"
    if kind in PRIVATE_KINDS:
        return f"{ip} in {ALLOWED}, or {ALLOW_PRIVATE}=true,"
    return f"{ip} in {ALLOWED}"


def normalized(host: str) -> str:
    return host.lower().removesuffix(".")


def network(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        because = f" ({error})" if "/" in text else ""
        raise ValueError(
            f"{text!r} is neither a host (example.com, *.example.com, xn-- for others than ASCII) "
            f"nor an address or network (10.0.0.0/8){because}"
        ) from None


def port_range(text: str) -> tuple[int, int]:
    """Read a port such as `443`, or a range of ports such as `8000-8999`."""
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= HIGHEST_PORT:
        raise ValueError(f"{text!r} is no port or range of ports from 1 to {HIGHEST_PORT}")
    return low, high
