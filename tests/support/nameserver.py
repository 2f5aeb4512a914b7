"""A DNS server on loopback, over UDP and TCP, that can be told to misbehave (RFC 1035)."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, ip_address
from typing import cast

import pytest
from msgspec import Struct
from msgspec.structs import replace

A, CNAME, AAAA = 1, 5, 28
NO_ERROR, SERVER_FAILURE, NAME_ERROR, REFUSED = 0, 2, 3, 5
RESPONSE, TRUNCATED, RECURSION = 0x8000, 0x0200, 0x0180
MAX_OVER_UDP = 1232


class Question(Struct, frozen=True, kw_only=True):
    """A question of a client."""

    id: int
    name: str
    type: int
    wire: bytes
    """The question section, for the answer to repeat."""


class Answer(Struct, frozen=True, kw_only=True):
    """The answer to a question."""

    code: int = NO_ERROR
    addresses: tuple[str, ...] = ()
    alias: str | None = None
    ttl: int = 0
    delay_seconds: float = 0.0
    truncated: bool = False
    """Whether the answer over UDP only tells the client to ask again over TCP."""


Behaviour = Callable[[Question], Answer | None]
"""Returns the answer to a question, or None for no answer at all."""


def at(*addresses: str, ttl: int = 0, delay_seconds: float = 0.0) -> Behaviour:
    """Answer correctly."""
    answer = Answer(addresses=addresses, ttl=ttl, delay_seconds=delay_seconds)
    return lambda _: answer


def silent(_: Question) -> None:
    """Never answer."""


def with_code(code: int) -> Behaviour:
    """Answer that there is nothing, for this reason."""
    answer = Answer(code=code)
    return lambda _: answer


def alias(name: str) -> Behaviour:
    """Answer with the name that the address is to be looked for under."""
    answer = Answer(alias=name)
    return lambda _: answer


def truncated(*addresses: str) -> Behaviour:
    """Answer correctly, but over TCP only."""
    answer = Answer(addresses=addresses, truncated=True)
    return lambda _: answer


class NameServer(asyncio.DatagramProtocol):
    """Answers by name; `*.zone` stands for all names below the zone. Other names are unknown."""

    def __init__(self) -> None:
        self.names: dict[str, Behaviour] = {}
        self.asked: Counter[str] = Counter()
        """Questions for the IPv4 addresses of each name."""
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["NameServer"]:
        """Listen on one port, of UDP and TCP, inside the context."""
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self.converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("127.0.0.1", self.port))
        transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
        try:
            yield self
        finally:
            transport.close()
            server.close()
            for task in tuple(self.tasks):
                task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # uvloop's is none by name

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = read(data)
        self.asked[question.name] += question.type == A
        answer = self.answer_to(question)
        if answer is None:
            return
        wire = self.written(question, answer)
        if answer.truncated or len(wire) > MAX_OVER_UDP:
            wire = (
                struct.pack("!HHHHHH", question.id, RESPONSE | TRUNCATED, 1, 0, 0, 0)
                + question.wire
            )
        self.later(answer.delay_seconds, lambda: self.transport.sendto(wire, addr))

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer over TCP until the client closes the connection."""
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                question = read(await reader.readexactly(length))
                answer = self.answer_to(question)
                if answer is not None:
                    await asyncio.sleep(answer.delay_seconds)
                    wire = self.written(question, answer)
                    writer.write(struct.pack("!H", len(wire)) + wire)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer_to(self, question: Question) -> Answer | None:
        labels = question.name.split(".")
        above = [".".join(["*", *labels[depth:]]) for depth in range(1, len(labels))]
        for name in (question.name, *above):
            if name in self.names:
                return self.names[name](question)
        return Answer(code=NAME_ERROR)

    def records(self, question: Question, answer: Answer) -> list[bytes]:
        """The records of an answer, with those of what its alias stands for."""
        owner, records, seen = question.name, list[bytes](), set[str]()
        while answer.alias is not None and owner not in seen:
            records.append(record(owner, CNAME, answer.ttl, encoded(answer.alias)))
            seen.add(owner)
            owner = answer.alias
            answer = self.answer_to(replace(question, name=owner)) or Answer()
        for text in answer.addresses:
            address = ip_address(text)
            type_ = A if isinstance(address, IPv4Address) else AAAA
            if type_ == question.type:
                records.append(record(owner, type_, answer.ttl, address.packed))
        return records

    def written(self, question: Question, answer: Answer) -> bytes:
        records = self.records(question, answer)
        flags = RESPONSE | RECURSION | answer.code
        head = struct.pack("!HHHHHH", question.id, flags, 1, len(records), 0, 0)
        # The name that was asked for is written once, and pointed to from there on.
        return head + question.wire + b"".join(records).replace(encoded(question.name), b"\xc0\x0c")

    def later(self, seconds: float, send: Callable[[], None]) -> None:
        if not seconds:
            send()
            return

        async def wait() -> None:
            await asyncio.sleep(seconds)
            if not self.transport.is_closing():
                send()

        task = asyncio.create_task(wait())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def read(data: bytes) -> Question:
    (id_,) = struct.unpack_from("!H", data)
    labels, at_ = [], 12
    while length := data[at_]:
        labels.append(data[at_ + 1 : at_ + 1 + length].decode("latin-1").lower())
        at_ += 1 + length
    (type_,) = struct.unpack_from("!H", data, at_ + 1)
    return Question(id=id_, name=".".join(labels), type=type_, wire=data[12 : at_ + 5])


def record(name: str, type_: int, ttl: int, data: bytes) -> bytes:
    return encoded(name) + struct.pack("!HHIH", type_, 1, ttl, len(data)) + data


def encoded(name: str) -> bytes:
    labels = (label.encode() for label in name.split("."))
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


@pytest.fixture
async def name_server() -> AsyncIterator[NameServer]:
    """A name server that knows no name yet."""
    async with NameServer().listening() as server:
        yield server
