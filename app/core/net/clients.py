"""Whose requests and connections are counted together."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

LOOPBACK = "loopback"
"""This machine: it can speak from any of sixteen million addresses."""
NETWORK_OF_A_HOST = 64
"""Bits; of the rest of an IPv6 address a host chooses itself."""


def client_of(host: str) -> str:
    """Name the client that has this address; what is no address is a name of its own."""
    address = address_in(host)
    if address is None:
        return host
    if address.is_loopback:
        return LOOPBACK
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return str(address)
    return str(ip_network((int(address) >> 64 << 64, NETWORK_OF_A_HOST)))


def address_in(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, of IPv4 inside IPv6 the former; None: it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
