"""The outgoing guard: nothing connects but to addresses that were judged here.

A name is resolved here, once for each connection, and every address it has is judged; what is then
connected to is one of those addresses, never the name. So neither a literal nor a redirect nor a
name that changes its mind between the check and the use of it gets around the rules.
"""

import socket
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import lru_cache

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from app.core.net.egress import Egress
from app.errors import AppError

MAX_VERDICTS = 4096

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → its IP addresses; raises OSError where there are none."""

judged: ContextVar[frozenset[tuple[str, int]]] = ContextVar("judged", default=frozenset())
"""The (address, port) pairs that the guard allowed for the name which this task resolved last.

`make_socket` is not told the name. A rule may allow an address under one name only, so each request
starts with `forget`, lest it use what was allowed for the name of the request before.
"""


def forget() -> None:
    """Let the next request of this task have nothing from the one before."""
    judged.set(frozenset())


class AddressBlocked(AppError, OSError):
    """A target may not be there. An `OSError`, so that clients take it for a failed connection."""


class Guard:
    """Resolves names and judges addresses; shared by all executors of a process."""

    def __init__(self, egress: Egress, *, lookup: Lookup) -> None:
        self.egress = egress
        self.lookup = lookup
        # Of literals only, so it never goes stale; to read an address takes longer than to connect.
        self.verdict = lru_cache(maxsize=MAX_VERDICTS)(egress.verdict)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Every address of `host`, which may be an address itself; to be connected to as they are.

        Raises:
            AddressBlocked: one of them is not allowed. The others are not tried: which of them
                answers would be for the owner of the name to decide.
            OSError: the name was not found.
        """
        if refusal := self.egress.host_verdict(host):
            raise AddressBlocked(refusal)
        found = await self.lookup(host, port)
        for address in found:
            named = None if address == host else host
            if refusal := self.verdict(address, port=port, host=named):
                raise AddressBlocked(refusal)
        judged.set(frozenset((address, port) for address in found))
        return found

    def make_socket(self, info: AddrInfoType) -> socket.socket:
        """Make a socket, for one address and no other; it is not connected yet.

        Raises:
            AddressBlocked: the address is not allowed.
        """
        family, type_, protocol, _, (address, port, *_) = info
        here = str(address), int(port)
        if here not in judged.get() and (refusal := self.verdict(here[0], port=here[1])):
            raise AddressBlocked(refusal)
        return socket.socket(family=family, type=type_, proto=protocol)


class GuardedResolver(AbstractResolver):
    """aiohttp's way to ask for the addresses of a name; it does not ask about literal ones."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in await self.guard.addresses(host, port)
        ]

    async def close(self) -> None:
        """Do nothing: a guard keeps nothing open."""
