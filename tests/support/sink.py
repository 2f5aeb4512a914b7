"""A real HTTP server on loopback that records its requests and can be told to misbehave.

Recording is a list append of the raw head and body, so that a benchmark can use it as well.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from ssl import SSLContext
from typing import Self

import pytest

from tests.support.certificate import self_signed
from tests.support.waiting import patience

PATIENCE_SECONDS = 5.0
DRIP_SECONDS = 0.02
PIECE = b"x" * 65_536


class Received:
    """One request as it arrived."""

    def __init__(self, head: bytes, body: bytes, *, connection: int) -> None:
        self.head = head
        self.body = body
        self.connection = connection
        """Ordinal of the connection it came on, from 1."""
        self.monotonic = time.monotonic()
        self.wall = time.time()

    @property
    def method(self) -> str:
        return self.head[: self.head.index(b" ")].decode()

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @cached_property
    def header_lines(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    @cached_property
    def headers(self) -> dict[str, str]:
        """By lower-case name; of a repeated header the last value."""
        return {name.lower(): value for name, value in self.header_lines}


class Wire(asyncio.Protocol):
    """One connection to the sink."""

    def __init__(self, sink: "Sink") -> None:
        self.sink = sink
        self.buffer = bytearray()
        self.behaving: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.sink.wires.append(self)
        self.sink.most_open = max(self.sink.most_open, self.sink.open)
        self.sink.news.set()
        self.ordinal = len(self.sink.wires)
        if self.sink.greeting:
            self.transport.write(self.sink.greeting)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed.set()
        self.writable.set()
        if self.behaving is not None:
            self.behaving.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = 0
        for line in bytes(self.buffer[:end]).lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
            elif line.startswith(b"transfer-encoding:"):
                self.transport.abort()  # nothing of ours sends chunks; two lengths are smuggling
                return
        whole = end + 4 + length
        if len(self.buffer) < whole:
            return
        request = Received(
            bytes(self.buffer[:end]),
            bytes(self.buffer[end + 4 : whole]),
            connection=self.ordinal,
        )
        del self.buffer[:whole]
        self.answer(request)

    def answer(self, request: Received) -> None:
        behaviour = self.sink.next_for(request)
        self.sink.note(request)
        if isinstance(behaviour, bytes):
            if request.head.startswith(b"HEAD "):
                behaviour = behaviour[: behaviour.index(b"\r\n\r\n") + 4]
            self.transport.write(behaviour)
        else:
            self.behaving = asyncio.get_running_loop().create_task(behaviour(self, request))

    async def write(self, data: bytes) -> None:
        """Write when the other side has room for it."""
        await self.writable.wait()
        self.transport.write(data)


Behaviour = bytes | Callable[[Wire, Received], Coroutine[None, None, None]]
"""How to answer a request: with these bytes, or by a coroutine function that does anything."""


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole, correct answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def late(seconds: float, answer: bytes) -> Behaviour:
    """Answer correctly, but only after a while."""

    async def behave(wire: Wire, _: Received) -> None:
        await asyncio.sleep(seconds)
        await wire.write(answer)

    return behave


async def hang(wire: Wire, _: Received) -> None:
    """Accept the request and never answer."""
    await wire.closed.wait()


def drip(answer: bytes) -> Behaviour:
    """Send the answer byte by byte, with short pauses, so that no pause is a time-out."""

    async def behave(wire: Wire, _: Received) -> None:
        for index in range(len(answer)):
            await wire.write(answer[index : index + 1])
            await asyncio.sleep(DRIP_SECONDS)

    return behave


async def hang_up(wire: Wire, _: Received) -> None:
    """Close the connection without an answer."""
    wire.transport.close()


async def reset(wire: Wire, _: Received) -> None:
    """Reset the connection (RST) without an answer."""
    on_close_discard = struct.pack("ii", 1, 0)
    peer = wire.transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_close_discard)
    wire.transport.abort()


def cut(answer: bytes) -> Behaviour:
    """Send these bytes and close, whatever Content-Length they have."""

    async def behave(wire: Wire, _: Received) -> None:
        await wire.write(answer)
        wire.transport.close()

    return behave


async def endless(wire: Wire, _: Received) -> None:
    """Answer with a body that has no end."""
    await wire.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not wire.closed.is_set():
        await wire.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
        wire.sink.poured += len(PIECE)
        await asyncio.sleep(0)


class Sink:
    """Answers 200 to everything until told otherwise by `on`."""

    def __init__(self, *, tls: SSLContext | None = None) -> None:
        self.tls = tls
        self.requests: list[Received] = []
        self.wires: list[Wire] = []
        self.most_open = 0
        """The most connections that there were at a time."""
        self.poured = 0
        """Bytes that `endless` has got rid of."""
        self.script: dict[str, list[Behaviour]] = {}
        self.default: Behaviour = reply(200, b"ok")
        self.greeting = b""
        """Sent to every connection before it has said anything, as HTTP servers never do."""
        self.news = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Serve on one port of 127.0.0.1 and 127.0.0.2, which are two hosts to a client."""
        loop = asyncio.get_running_loop()
        first = await loop.create_server(lambda: Wire(self), "127.0.0.1", 0, ssl=self.tls)
        self.port: int = first.sockets[0].getsockname()[1]
        second = await loop.create_server(lambda: Wire(self), "127.0.0.2", self.port, ssl=self.tls)
        try:
            yield self
        finally:
            for server in (first, second):
                server.close()
            for wire in self.wires:
                wire.transport.abort()
            await asyncio.sleep(0)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return sum(not wire.closed.is_set() for wire in self.wires)

    def url(self, path: str = "/", *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def on(self, path: str, *behaviours: Behaviour) -> str:
        """Answer requests to `path` with these, one each; the last one stays. Returns the URL."""
        self.script[path] = list(behaviours)
        return self.url(path)

    def next_for(self, request: Received) -> Behaviour:
        script = self.script.get(request.path) if self.script else None
        if not script:
            return self.default
        return script.pop(0) if len(script) > 1 else script[0]

    def note(self, request: Received) -> None:
        self.requests.append(request)
        self.news.set()

    async def arrived(self, count: int = 1) -> list[Received]:
        """The requests, once there are at least `count`."""
        await self.until(lambda: len(self.requests) >= count)
        return self.requests

    async def connected(self) -> None:
        """Wait for the first connection."""
        await self.until(lambda: bool(self.wires))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with patience(PATIENCE_SECONDS):
            while not holds():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A receiver of HTTP requests."""
    async with Sink().listening() as sink:
        yield sink


@pytest.fixture
async def tls_sink() -> AsyncIterator[Sink]:
    """A receiver of HTTPS requests whose certificate is self-signed."""
    async with Sink(tls=self_signed("127.0.0.1")).listening() as sink:
        yield sink


@asynccontextmanager
async def silent_server(host: str = "127.0.0.1") -> AsyncIterator[tuple[str, list[object]]]:
    """Serve an address that takes connections and never answers: its URL, and the connections."""
    connections: list[object] = []
    over = asyncio.Event()

    async def keep_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(keep_silent, host, 0)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}/", connections
    finally:
        over.set()
        server.close()
