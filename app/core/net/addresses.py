"""Kinds of IP addresses, by which the outgoing guard judges them.

Sources: the IANA special-purpose registries for IPv4 and IPv6, and the addresses at which clouds
serve credentials. Python's own `is_private` and `is_global` let multicast, NAT64 and some clouds'
metadata services pass, and differ between patch releases.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class Kind(StrEnum):
    """The kind of a non-public address, in words that fit after "is"."""

    METADATA = "a cloud's metadata service"
    EMBEDDED = "an IPv4 address inside an IPv6 one"
    UNSPECIFIED = "unspecified, which means this machine"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    SHARED = "shared by a carrier's customers (CGNAT)"
    MULTICAST = "multicast"
    RESERVED = "reserved"


PRIVATE_KINDS = frozenset(
    {Kind.UNSPECIFIED, Kind.LOOPBACK, Kind.LINK_LOCAL, Kind.PRIVATE, Kind.SHARED}
)
"""The kinds that the setting `TOCSIN_ALLOW_PRIVATE_TARGETS` allows as a whole."""

KINDS: dict[Kind, tuple[str, ...]] = {
    Kind.METADATA: (
        "169.254.169.0/24",  # most clouds, with AWS's DNS and time beside it
        "169.254.170.0/24",  # AWS, to containers
        "169.254.0.23",  # Tencent
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure; a public address otherwise
        "192.0.0.192",  # Oracle
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254",  # Google
    ),
    Kind.UNSPECIFIED: ("0.0.0.0", "::"),  # noqa: S104 - nothing binds to it here
    Kind.LOOPBACK: ("127.0.0.0/8", "::1"),
    Kind.EMBEDDED: (
        "::ffff:0:0/96",  # mapped
        "::/96",  # compatible, deprecated
        "::ffff:0:0:0/96",  # translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a site's own
        "2002::/16",  # 6to4
    ),
    Kind.LINK_LOCAL: ("169.254.0.0/16", "fe80::/10"),
    Kind.PRIVATE: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    Kind.SHARED: ("100.64.0.0/10",),
    Kind.MULTICAST: ("224.0.0.0/4", "ff00::/8"),
    Kind.RESERVED: (
        "0.0.0.0/8",
        "192.0.0.0/24",  # IETF protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "240.0.0.0/4",  # with the broadcast address
        "2001::/23",  # IETF protocols, Teredo
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    ),
}
"""The first network, in this order, that contains an address decides its kind."""

RANGES = tuple((ip_network(text), kind) for kind, texts in KINDS.items() for text in texts)

GLOBAL_IPV6 = IPv6Network("2000::/3")
"""The only IPv6 addresses that IANA has allocated as public; all others are reserved."""

LOW_BITS = 0xFFFF_FFFF
SIX_TO_FOUR = IPv6Network("2002::/16")


def kind_of(address: IPAddress) -> Kind | None:
    """Return the kind of an address; None for a public one."""
    for network, kind in RANGES:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in GLOBAL_IPV6:
        return Kind.RESERVED
    return None


def carried_by(address: IPAddress) -> IPv4Address | None:
    """Return the IPv4 address in an embedding IPv6 one, to which translators forward packets."""
    if isinstance(address, IPv4Address) or kind_of(address) is not Kind.EMBEDDED:
        return None
    if address in SIX_TO_FOUR:
        return address.sixtofour
    return IPv4Address(int(address) & LOW_BITS)
