"""The event loop of a process: uvloop, but for names, which our own resolver looks up.

uvloop looks names up in libuv's few threads, which those that hang keep for themselves, and the end
of the process waits for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from app.targets.net.forms import is_address
from app.targets.net.resolver import NameFailed, Resolver

Connect = Callable[..., Awaitable[tuple[Any, Any]]]


class Loop(uvloop.Loop):
    """An event loop that opens connections to names by the addresses that the resolver tells."""

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

        What only the system's resolver knows, by one of its own modules, is left to that: who gave
        such a name is the operator. Targets come here as addresses.

        Raises:
            OSError: no address answers, or the name was not found.
        """
        connect: Connect = super().create_connection
        if not host or is_address(host):
            return await connect(protocol_factory, host, port, **options)
        try:
            addresses = await self.names.addresses(host)
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
