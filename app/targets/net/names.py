"""Resolves the host names of targets ahead of their executions, for the scheduler."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from app.targets.net.forms import is_address
from app.targets.net.guard import Guard
from app.targets.net.resolver import Resolver

SUBNET_BITS = 64
"""The network that a holder of one IPv6 address has as a whole (RFC 6177), in bits."""


class Names:
    """Looks up names of targets, unless the guard forbids a name.

    The resolver keeps the answers, and the executions, which ask again, get them at once.
    """

    def __init__(self, guard: Guard, resolver: Resolver) -> None:
        self.guard = guard
        self.resolver = resolver

    def is_known(self, name: str) -> bool:
        """Return whether no claim needs to wait for the name.

        Its answer or failure is fresh, the name is an address, or the rules forbid it.
        """
        return (
            is_address(name)
            or self.resolver.fresh(name) is not None
            or self.guard.egress.host_verdict(name) is not None
        )

    def known_address(self, name: str) -> str | None:
        """Return `address_of` the name if it `is_known`, else None."""
        if is_address(name):
            return network_of(name)
        known = self.resolver.fresh(name)
        if known is not None:
            return network_of(min(known.addresses)) if known.addresses else ""
        return self.address_of(name) if self.is_known(name) else None

    def is_crowded(self, name: str) -> bool:
        """Return whether another lookup of a name that never had an answer must wait.

        Too many such lookups are under way, in all or for names of the same DNS domain.
        """
        return self.resolver.crowded(name)

    async def look_up(self, name: str) -> None:
        """Wait until the name has an address or its lookup failed; never raises."""
        with suppress(Exception):  # the execution finds out for itself
            await self.resolver.find_addresses(name)

    def address_of(self, name: str) -> str:
        """Return the first address of a name, for IPv6 its /64 network; empty if unknown.

        Names with the same result are taken for one server, and share its slots.
        """
        addresses: Sequence[str] = (name,) if is_address(name) else self.resolver.latest(name)
        return network_of(min(addresses)) if addresses else ""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the address; for IPv6 the /64 network that its holder has as a whole."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        return str(ip_network((ip, SUBNET_BITS), strict=False))
    return str(ip)
