"""Mail servers that send what none sends: their job fails and says why, nobody else is held up."""

import resource
import socket
from collections.abc import Iterator

import pytest

from app.core.runs.outcome import Outcome, Report
from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import NEARBY, attempt
from tests.support.brokers import Client, Script, scripted
from tests.support.bystander import bystander

MAX_KILOBYTES = 100 * 1024
LATE_SECONDS = 1.0


def flood(client: Client, piece: bytes) -> None:
    while True:
        client.send(piece)


def commands(client: Client) -> Iterator[bytes]:
    """Read one command of the client after the other."""
    while True:
        line = b""
        while not line.endswith(b"\n"):
            line += client.take(1)
        yield line


def at(command: bytes, piece: bytes, *, once: bytes = b"") -> Script:
    """Answer well until the client says this; then `once`, and the same for ever."""

    def script(client: Client) -> None:
        client.send(b"220 hello\r\n")
        for line in commands(client):
            if line.startswith(command):
                break
            client.send(b"250 fine\r\n")
        client.send(once)
        flood(client, piece)

    return script


HOSTILE: dict[str, Script] = {
    "a greeting without an end": lambda client: flood(client, b"220-hello\r\n" * 999),
    "a line without an end": lambda client: flood(client, b"2" * 65_536),
    "zeros": lambda client: flood(client, bytes(65_536)),
    "noise": lambda client: flood(client, bytes(range(256)) * 99),
    "line breaks": lambda client: flood(client, b"\r\n" * 999),
    "an answer to EHLO without an end": at(b"EHLO", b"250-X\r\n" * 999),
    "extensions without an end": at(b"EHLO", b"250-AUTH LOGIN\r\n" * 999),
    "answers to what was not asked": at(b"MAIL", b"250 fine\r\n" * 999),
    "the same letter by letter": at(b"RCPT", b"2"),
    "an answer that begins and does not end": at(b"DATA", b"x", once=b"354-"),
    "more upon the invitation": at(b"DATA", b"250-\r\n" * 999, once=b"354 go on\r\n"),
    "an answer in which nothing is text": at(b"MAIL", b"250-\xff\xfe\x00\r\n" * 999),
    "a code that is none": at(b"MAIL", b"-12 hello\r\n" * 99),
}


async def send(port: int, **target: object) -> Report:
    """Hand a mail over there, by executors of its own, as in an instance."""
    written = {"url": f"smtp://127.0.0.1:{port}", "starttls": False, "from": "a@example.com"}
    rest = {"to": ["b@example.com", "c@example.com"], "text": "x" * 100_000}
    made = decode_target("smtp", written | rest | target)
    async with Executors(egress=NEARBY) as executors:
        return await executors.execute("smtp", made, attempt(within=10.0))


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.alone
async def test_a_hostile_mail_server_fails_its_own_job_and_holds_up_nobody(what: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with scripted(HOSTILE[what]) as port:
        async with bystander() as other:
            report = await send(port)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert report.outcome is Outcome.FAILED, report
    assert report.reason in {"protocol", "closed"}, report
    assert report.error
    assert grown < MAX_KILOBYTES
    assert other.longest < LATE_SECONDS


async def test_a_server_that_says_much_in_small_pieces_is_believed() -> None:
    def script(client: Client) -> None:
        client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for letter in b"220-a very\r\n220-long\r\n220 greeting\r\n":
            client.send(bytes((letter,)))
        lines = commands(client)
        for line in lines:
            code = b"354" if line.startswith(b"DATA") else b"250"
            client.send(code + b"-" + b"x" * 100 + b"\r\n")
            client.send(code + b" fine\r\n")
            if code == b"354":
                break
        while next(lines) != b".\r\n":
            pass
        client.send(b"250 kept\r\n")

    with scripted(script) as port:
        report = await send(port, text="a\n", to=[f"user{n}@example.com" for n in range(100)])

    assert report.outcome is Outcome.SUCCEEDED, report
