"""Parses the first message of a TLS client, with what the client offers (RFC 8446, 4.1.2)."""

import ssl
from contextlib import suppress

SUPPORTED_GROUPS = 10
HANDSHAKE_HEADERS = 5 + 4
"""Bytes: of the record, of the message."""
VERSION_AND_RANDOM = 2 + 32


class Reader:
    """Reads numbers and vectors from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int = 2) -> bytes:
        return self.take(self.number(size))


def numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


def offered(context: ssl.SSLContext) -> tuple[list[int], list[int]]:
    """The numbers of the cipher suites and of the groups that a client with `context` offers."""
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = Reader(sent.read()[HANDSHAKE_HEADERS + VERSION_AND_RANDOM :])
    hello.vector(1)  # the session
    suites = numbers(hello.vector())
    hello.vector(1)  # compression
    extensions = Reader(hello.vector())
    while extensions.data:
        number, content = extensions.number(), extensions.vector()
        if number == SUPPORTED_GROUPS:
            return suites, numbers(Reader(content).vector())
    return suites, []
