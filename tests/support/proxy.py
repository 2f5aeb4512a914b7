"""A TCP proxy that a test can slow down, stall, half-open, cut and close.

In front of Postgres it reads enough of the protocol to know each connection by its
`application_name`, and to cut one at the exact moment before a statement reaches the server or
after the server has committed it and before the answer is seen.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Self

from tests.support.pgwire import Answers, Questions

PIECE = 65_536
DISCARD_ON_CLOSE = struct.pack("ii", 1, 0)


class Cut(StrEnum):
    """Where a statement's connection is cut."""

    BEFORE = "before"
    """The server never sees the statement."""
    AFTER = "after"
    """The server has committed it; the client never hears."""


class Trap:
    """Cuts the connection of the next statement whose text contains `marker`."""

    def __init__(self, marker: str, when: Cut, times: int) -> None:
        self.marker = marker.encode()
        self.when = when
        self.left = times
        self.sprung = asyncio.Event()

    def springs(self, statements: list[bytes]) -> bool:
        """Return whether one of these statements contains the marker."""
        if not self.left or not any(self.marker in one for one in statements):
            return False
        self.left -= 1
        return True


class Link:
    """One connection through the proxy, both sides of it."""

    def __init__(
        self,
        proxy: "Proxy",
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.proxy = proxy
        self.client_reader, self.client_writer = client
        self.server_reader, self.server_writer = server
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.deaf = False
        self.questions = Questions()
        self.answers: Answers | None = None
        """Set while the end of an answer is awaited: the answer will never be passed on."""

    @property
    def name(self) -> str:
        """The `application_name` of a client of Postgres; empty for other protocols."""
        return self.questions.application_name

    def stall(self) -> None:
        """Keep everything back, both ways, until `resume`."""
        self.flowing.clear()

    def resume(self) -> None:
        self.flowing.set()

    def half_open(self) -> None:
        """Swallow everything from now on, each side's end included: neither hears of the other."""
        self.deaf = True

    def cut(self) -> None:
        """Reset both sides."""
        for writer in (self.client_writer, self.server_writer):
            peer: socket.socket | None = writer.get_extra_info("socket")
            with suppress(OSError):
                if peer is not None:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD_ON_CLOSE)
            writer.transport.abort()
        self.flowing.set()

    async def carry(self) -> None:
        """Carry both ways until either side ends."""
        both = [
            asyncio.create_task(self.up(), name="proxy up"),
            asyncio.create_task(self.down(), name="proxy down"),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self.deaf:
                await asyncio.Event().wait()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self.client_writer.transport.abort()
            self.server_writer.transport.abort()

    async def up(self) -> None:
        """Carry from the client to the server."""
        with suppress(OSError):
            while data := await self.client_reader.read(PIECE):
                await self.hold()
                statements = self.questions.asked(data)
                trap = self.proxy.trap
                if trap is not None and trap.springs(statements):
                    if trap.when is Cut.BEFORE:
                        trap.sprung.set()
                        self.cut()
                        return
                    self.answers = Answers()
                if not self.deaf:
                    self.server_writer.write(data)
                    await self.server_writer.drain()

    async def down(self) -> None:
        """Carry from the server to the client."""
        with suppress(OSError):
            while data := await self.server_reader.read(PIECE):
                await self.hold()
                if self.answers is not None:
                    if self.answers.complete(data):
                        assert self.proxy.trap is not None
                        self.proxy.trap.sprung.set()
                        self.cut()
                        return
                    continue
                if not self.deaf:
                    self.client_writer.write(data)
                    await self.client_writer.drain()

    async def hold(self) -> None:
        """Wait while stalled, or as long as everything is delayed."""
        await self.flowing.wait()
        if self.proxy.delay_seconds:
            await asyncio.sleep(self.proxy.delay_seconds)


class Proxy:
    """Listens on a port of its own in front of `host` and `port`, which may be changed."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port_behind = port
        self.links: list[Link] = []
        self.serving: set[asyncio.Task[None]] = set()
        self.delay_seconds = 0.0
        """Each piece of data is held up for so long, either way."""
        self.refusing = False
        """New connections are reset."""
        self.swallowing = False
        """New connections are accepted and then hear nothing."""
        self.accepted = 0
        self.trap: Trap | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Serve on 127.0.0.1."""
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut_all()
            for task in self.serving:
                task.cancel()
            await asyncio.gather(*self.serving, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        try:
            if self.refusing:
                raise ConnectionRefusedError
            if self.swallowing:
                await asyncio.Event().wait()
            server = await asyncio.open_connection(self.host, self.port_behind)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        link = Link(self, (reader, writer), server)
        self.links.append(link)
        try:
            await link.carry()
        finally:
            self.links.remove(link)

    def named(self, part: str) -> Iterator[Link]:
        """The links whose Postgres client has this in its `application_name`."""
        return (link for link in tuple(self.links) if part in link.name)

    def stall_all(self) -> None:
        for link in self.links:
            link.stall()

    def resume_all(self) -> None:
        for link in self.links:
            link.resume()

    def half_open_all(self) -> None:
        for link in self.links:
            link.half_open()

    def cut_all(self) -> None:
        for link in tuple(self.links):
            link.cut()

    def cut_at(self, marker: str, when: Cut, *, times: int = 1) -> Trap:
        """Cut the connection of the next `times` statements whose text contains `marker`."""
        self.trap = Trap(marker, when, times)
        return self.trap
