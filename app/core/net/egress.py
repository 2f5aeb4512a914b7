"""What an operator lets targets reach: lists of hosts and networks, ports, and private addresses.

Allowed wins over denied, denied over what the kind of an address says. An address counts, not the
name it was found under: a name is judged with each of the addresses it resolves to.
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
"""Characters of a name with a final dot and some to spare; none that can be resolved is longer."""
EVERYTHING = "*"
HIGHEST_PORT = 65_535


class Listed(Struct, frozen=True, kw_only=True):
    """Hosts and networks on one of the lists."""

    hosts: frozenset[str] = frozenset()
    """Lower-case names; `*.example.com` stands for every name below `example.com`, not for it."""
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Read names, addresses and networks; `*` is every address.

        Raises:
            ValueError: naming the entry that is none of them.
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
        """Whether the name, or a wildcard above it, is listed."""
        if len(host) > MAX_HOST_LENGTH:
            return False
        labels = normalized(host).split(".")
        above = (".".join(["*", *labels[depth:]]) for depth in range(1, len(labels)))
        return not self.hosts.isdisjoint({".".join(labels), *above})

    def has(self, address: IPAddress) -> bool:
        return any(address in network for network in self.networks)

    def has_alone(self, address: IPAddress) -> bool:
        """Whether the address is listed by itself, not as one of a network."""
        return any(address in network and network.num_addresses == 1 for network in self.networks)


EVERY_PORT = ((1, HIGHEST_PORT),)
WEB_PORTS = ((80, 80), (443, 443), (1024, HIGHEST_PORT))
"""Without those of mail, shells and other protocols that could be spoken to in a request."""


class Egress(Struct, frozen=True, kw_only=True):
    """Which targets may be called. By default: public addresses, on ports that serve the Web."""

    allowed: Listed = Listed()
    denied: Listed = Listed()
    ports: tuple[tuple[int, int], ...] = WEB_PORTS
    """From, to; both included."""
    allow_private: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the operator's lists.

        Raises:
            InvalidSettings: naming the variable and what is wrong in it.
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
        """Why nothing may connect to the address, and what would allow it; None: it may.

        `host` is the name that resolved to it; None where a target gave the address itself.
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
        """Why the name is not even looked up; None: it may be."""
        if self.denied.has_host(host) and not self.allowed.has_host(host):
            return f"{host} is on the list {DENIED}; {ALLOWED} wins over it"
        return None

    def refusal(self, ip: IPAddress, host: str, called: str) -> str | None:
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
    """What the operator may set; a metadata service is not opened by a network around it."""
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
    """`443` or `8000-8999`."""
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= HIGHEST_PORT:
        raise ValueError(f"{text!r} is no port or range of ports from 1 to {HIGHEST_PORT}")
    return low, high
