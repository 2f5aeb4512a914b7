"""The outgoing guard: connections are made only to addresses that were judged here.

A name is resolved here, once for each connection, and each of its addresses is judged. The
connection is then made to one of those addresses, never to the name. So neither a literal address,
nor a redirect, nor a name that resolves differently the second time gets around the rules.
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
"""How many verdicts on addresses are kept."""

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""Returns the IP addresses for a host and port; raises OSError if there are none."""

judged: ContextVar[frozenset[tuple[str, int]]] = ContextVar("judged", default=frozenset())
"""The (address, port) pairs that the guard allowed for the name which this task resolved last.

`make_socket` is not told the name. A rule may allow an address under one name only, so each request
begins with `forget`: nothing that was allowed for another request's name may be used.
"""


def forget() -> None:
    """Drop what the guard allowed for the previous request of this task."""
    judged.set(frozenset())


class AddressBlocked(AppError, OSError):
    """The rules forbid an address. An `OSError`: clients treat it as a failed connection."""


class Guard:
    """Resolves names and judges addresses; shared by all executors of a process."""

    def __init__(self, egress: Egress, *, lookup: Lookup) -> None:
        self.egress = egress
        self.lookup = lookup
        # Of literals only, so it never goes stale; to read an address takes longer than to connect.
        self.verdict = lru_cache(maxsize=MAX_VERDICTS)(egress.verdict)

    async def find_addresses(self, host: str, port: int) -> list[str]:
        """Return every address of `host`, which may be an address itself; connect to these only.

        Raises:
            AddressBlocked: one of the addresses is not allowed. The others are not tried, as the
                owner of the name could choose which of them answers.
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
        """Make a socket, not connected yet, for the address in `info`.

        Raises:
            AddressBlocked: the address is not allowed.
        """
        family, type_, protocol, _, (address, port, *_) = info
        here = str(address), int(port)
        if here not in judged.get() and (refusal := self.verdict(here[0], port=here[1])):
            raise AddressBlocked(refusal)
        return socket.socket(family=family, type=type_, proto=protocol)


class GuardedResolver(AbstractResolver):
    """The guard as aiohttp asks for the addresses of names; not called for literal addresses."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in await self.guard.find_addresses(host, port)
        ]

    async def close(self) -> None:
        """Do nothing: a guard keeps nothing open."""
