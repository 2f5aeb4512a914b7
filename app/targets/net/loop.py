"""The event loop of a process: uvloop with Tocsin's own resolver for host names.

uvloop resolves names in the few threads of libuv. Names that hang would occupy them all, and the
process could not end before they are resolved.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from app.targets.net.forms import is_address
from app.targets.net.resolver import NameFailed, Resolver

Connect = Callable[..., Awaitable[tuple[Any, Any]]]


class Loop(uvloop.Loop):
    """An event loop that connects to names by the addresses of a `Resolver`."""

    def __init__(self, names: Resolver) -> None:
        super().__init__()
        self.names = names

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: Any,  # noqa: ANN401 - uvloop's own signature
    ) -> tuple[Any, Any]:
        """Connect to the first address of `host` that answers.

        A name that the `Resolver` does not find is left to the system's resolver, whose modules may
        know other names. Only an operator's names get here: names of targets are resolved before.

        Raises:
            OSError: no address answers, or the name was not found.
        """
        connect: Connect = super().create_connection
        if not host or is_address(host):
            return await connect(protocol_factory, host, port, **options)
        try:
            addresses = await self.names.find_addresses(host)
        except NameFailed as failure:
            if not failure.is_unknown:
                raise
            return await connect(protocol_factory, host, port, **options)
        if options.get("ssl"):
            options["server_hostname"] = options.get("server_hostname") or host
        for address in addresses[:-1]:
            try:
                return await connect(protocol_factory, address, port, **options)
            except OSError:
                continue
        return await connect(protocol_factory, addresses[-1], port, **options)
