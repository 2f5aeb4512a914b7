"""A server on all addresses of this machine that no executor may reach, and a lying name server."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

ANYWHERE = ["0.0.0.0", "::"]  # noqa: S104 - whatever way leads to this machine must be noticed


class Canary:
    """Counts connections: a single one shows that the guard failed."""

    def __init__(self) -> None:
        self.hits = 0
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await reader.read(1)
        writer.close()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    """Listens on one port of all addresses, IPv4 and IPv6."""
    bird = Canary()
    first = await asyncio.start_server(bird.accept, ANYWHERE[0], 0)
    bird.port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(bird.accept, ANYWHERE[1], bird.port)
    try:
        yield bird
    finally:
        first.close()
        second.close()


async def lookup(host: str, port: int) -> list[str]:
    """Ask the system's resolver, which knows all ways to write an address."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "it is no name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Names:
    """Resolves each known name to its lists of addresses, one a call; the last list stays.

    Other names go to the system's resolver, which reads addresses in every form.
    """

    def __init__(self, names: dict[str, list[list[str]]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        name = host.lower().removesuffix(".")
        self.asked.append(name)
        if name not in self.names:
            return await lookup(host, port)
        answers = self.names[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]
