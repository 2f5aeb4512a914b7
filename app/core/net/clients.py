"""Clients of the API, whose requests and connections are counted and limited together."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

LOOPBACK = "loopback"
"""The client for all loopback addresses: a machine has sixteen million of them."""
NETWORK_OF_A_HOST = 64
"""Bits of an IPv6 address that tell clients apart; a host chooses the other 64 bits itself."""


def client_of(host: str) -> str:
    """Name the client that has this address; a text that is no address is its own name."""
    address = address_in(host)
    if address is None:
        return host
    if address.is_loopback:
        return LOOPBACK
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return str(address)
    return str(ip_network((int(address) >> 64 << 64, NETWORK_OF_A_HOST)))


def address_in(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, an IPv4-mapped IPv6 address as the IPv4 one; None if there is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
