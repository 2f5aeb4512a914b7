"""Brokers that send what no broker sends: their job fails and says why, nobody else is held up."""

import resource
import struct

import pytest
from aiormq import spec as commands

from app.core.runs.outcome import Outcome, Report
from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import NEARBY, attempt
from tests.support.brokers import Client, Script, raw, scripted
from tests.support.bystander import bystander

MAX_KILOBYTES = 100 * 1024
LATE_SECONDS = 1.0


def nested(depth: int) -> bytes:
    """A table in a table in a table."""
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return struct.pack(">I", len(table)) + table


def start_with(properties: bytes) -> bytes:
    """A greeting whose properties are these bytes."""
    plain = struct.pack(">I", 5) + b"PLAIN" + struct.pack(">I", 5) + b"en_US"
    return raw(1, 0, struct.pack(">HHBB", 10, 10, 0, 9) + properties + plain)


def header(channel: int, *, body_size: int, table: bytes = b"\0\0\0\0", more: bytes = b"") -> bytes:
    flags = 0x2000 | (0x0080 if more else 0)
    return raw(2, channel, struct.pack(">HHQH", 60, 0, body_size, flags) + table + more)


def flood(client: Client, piece: bytes) -> None:
    while True:
        client.send(piece)


def greeting(data: bytes) -> Script:
    def script(client: Client) -> None:
        client.take(8)
        client.send(data)

    return script


def greeted(client: Client, data: bytes) -> Client:
    client.take(8)
    client.send(data)
    return client


def greeting_then(data: bytes) -> Script:
    def script(client: Client) -> None:
        client.greet()
        client.send(data)

    return script


def tuning(**limits: int) -> Script:
    return lambda client: client.open(**limits)


def once_published(*pieces: bytes, again: bytes = b"", **limits: int) -> Script:
    def script(client: Client) -> None:
        client.published(**limits)
        for piece in pieces:
            client.send(piece)
        while again:
            client.send(again)

    return script


def ack(tag: int, *, multiple: bool = False) -> bytes:
    return raw(1, 1, struct.pack(">HHQB", 60, 80, tag, multiple))


RETURN = raw(1, 1, struct.pack(">HHH", 60, 50, 312) + b"\x01x\x00\x01q")
DECLARED = struct.pack(">HH", 50, 10) + b"\0\0\x01q\0"
NOTHING_USED = b"\x01a" + b"V"

HOSTILE: dict[str, Script] = {
    "a greeting of four gigabytes": greeting(raw(1, 0, b"", size=0xFFFFFFFF)),
    "a greeting of two gigabytes that comes": lambda client: flood(
        greeted(client, raw(1, 0, b"", size=0x7FFFFFFF)), b"x" * 65_536
    ),
    "a greeting over the size of handshakes": greeting(start_with(nested(0) + b"x" * 9_000)),
    "a greeting of nested tables": greeting(start_with(nested(1_100))),
    "a greeting without what we look for": lambda client: client.open(
        start=commands.Connection.Start(server_properties={})
    ),
    "a greeting of noise": greeting(bytes(range(256)) * 4),
    "a greeting of zeros": greeting(bytes(4096)),
    "a greeting without an end": greeting(raw(1, 0, struct.pack(">HH", 10, 10))[:-1] + b"x"),
    "a greeting that is another method": greeting(raw(1, 0, struct.pack(">HH", 50, 10) + b"xx")),
    "a greeting of a heartbeat": greeting(raw(8, 0, b"")),
    "a flood of heartbeats at once": lambda client: flood(
        greeted(client, b""), raw(8, 0, b"") * 999
    ),
    "frames of no size": tuning(frame_max=8),
    "frames of one byte": tuning(frame_max=1),
    "frames under the smallest": tuning(frame_max=4095),
    "limits that end early": greeting_then(raw(1, 0, struct.pack(">HHH", 10, 30, 1))),
    "a frame of four gigabytes": once_published(raw(1, 1, b"", size=0xFFFFFFFF)),
    "a frame over the size agreed on": once_published(raw(3, 1, b"x" * 5_000), frame_max=4096),
    "a frame over the size that was not limited": once_published(
        raw(3, 1, b"x" * 200_000), frame_max=0
    ),
    "a frame over a size that we do not agree to": once_published(
        raw(3, 1, b"x" * 200_000), frame_max=0xFFFFFFFF
    ),
    "a flood of heartbeats": once_published(again=raw(8, 0, b"") * 999),
    "a flood of acknowledgements": once_published(again=ack(77) * 999),
    "a flood of acknowledgements of all": once_published(again=ack(0, multiple=True) * 999),
    "a flood of alarms": once_published(again=raw(1, 0, struct.pack(">HH", 10, 60) + b"\0") * 99),
    "a flood of returned messages": once_published(again=(RETURN + header(1, body_size=0)) * 99),
    "a returned message without an end": once_published(
        RETURN, header(1, body_size=2**63), again=raw(3, 1, b"x" * 65_000)
    ),
    "a flood of bodies of other channels": once_published(again=raw(3, 9, b"x" * 9) * 999),
    "a flood of empty bodies": once_published(again=raw(3, 1, b"") * 999),
    "a header that nobody waits for": once_published(header(1, body_size=5)),
    "a delivery without a consumer": once_published(
        raw(1, 1, struct.pack(">HH", 60, 60) + b"\0" * 20)
    ),
    "a table of a hundred thousand entries": once_published(
        raw(1, 1, DECLARED + struct.pack(">I", 120_000) + NOTHING_USED * 40_000)
    ),
    "tables in tables": once_published(raw(1, 1, DECLARED + nested(18_000))),
    "a returned message that cannot be read": once_published(
        RETURN, raw(2, 1, struct.pack(">HHQH", 60, 0, 0, 0xFFFF) + b"\xff")
    ),
    "a frame of no type": once_published(raw(7, 1, b"x")),
    "a method of no class": once_published(raw(1, 1, struct.pack(">HH", 999, 9))),
    "a method of no bytes": once_published(raw(1, 1, b"")),
    "a method cut short": once_published(raw(1, 1, struct.pack(">HH", 60, 80))),
    "text that is none": once_published(
        raw(1, 0, struct.pack(">HHH", 10, 50, 1) + b"\x02\xff\xfe")
    ),
    "a close of no known code": once_published(
        raw(1, 1, struct.pack(">HHH", 20, 40, 0) + b"\0\0\0\0\0")
    ),
}
"""Whatever they do, the outcome is a failure."""


async def publish(port: int, *, within: float = 10.0) -> Report:
    """Publish there, by an executor of its own, as in an instance."""
    url = f"amqp://guest:sesame@127.0.0.1:{port}/"
    target = decode_target("amqp", {"url": url, "routing_key": "q", "body": "x" * 100})
    async with Executors(egress=NEARBY) as executors:
        return await executors.execute("amqp", target, attempt(within=within))


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.alone
async def test_a_hostile_broker_fails_its_own_job_and_holds_up_nobody(what: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with scripted(HOSTILE[what]) as port:
        async with bystander() as other:
            report = await publish(port)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert report.outcome is Outcome.FAILED, report
    assert report.reason in {"protocol", "closed", "auth"}, report
    assert report.error
    assert "sesame" not in report.error
    assert grown < MAX_KILOBYTES
    assert other.longest < LATE_SECONDS


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("a greeting of four gigabytes", "4294967295 bytes, and 8192 were agreed upon"),
        ("a frame over the size agreed on", "5000 bytes, and 4088 were agreed upon"),
        ("a frame over the size that was not limited", "200000 bytes, and 131064 were"),
        ("a flood of heartbeats", "much more than it was asked for"),
        ("frames of no size", "frames of 8 bytes, and AMQP has 4096"),
        ("tables in tables", "not meant for publishers"),
    ],
)
async def test_what_a_broker_did_is_told(what: str, says: str) -> None:
    with scripted(HOSTILE[what]) as port:
        report = await publish(port)

    assert report.reason == "protocol"
    assert says in (report.error or "")


@pytest.mark.parametrize(
    "answers",
    [
        [ack(1)],
        [ack(2**63, multiple=True), ack(1, multiple=True)],
        [raw(8, 0, b"") * 100, ack(1)],
        [ack(9), ack(9), ack(1)],
        [RETURN, header(1, body_size=100, more=b"\x03odd"), raw(3, 1, b"x" * 100), ack(1)],
    ],
)
async def test_a_broker_that_is_only_odd_is_believed(answers: list[bytes]) -> None:
    with scripted(once_published(*answers)) as port:
        report = await publish(port)

    assert report.outcome is Outcome.SUCCEEDED, report


async def test_a_thousand_messages_on_one_connection_are_not_taken_for_a_flood() -> None:
    def script(client: Client) -> None:
        client.published()
        for tag in range(1, 1_001):
            client.send(ack(tag))
            if tag < 1_000:
                client.method()

    with scripted(script) as port:
        url = f"amqp://guest:sesame@127.0.0.1:{port}/"
        target = decode_target("amqp", {"url": url, "routing_key": "q"})
        async with Executors(egress=NEARBY) as executors:
            reports = [await executors.execute("amqp", target, attempt()) for _ in range(1_000)]

    assert {report.outcome for report in reports} == {Outcome.SUCCEEDED}


@pytest.mark.alone
async def test_a_broker_that_answers_what_nobody_asked_is_not_read_any_further() -> None:
    answers = raw(1, 1, struct.pack(">HH", 20, 11) + b"\0\0\0\0") * 999
    with scripted(once_published(again=answers)) as port:
        async with bystander() as other:
            report = await publish(port, within=2.0)

    assert report.outcome in {Outcome.FAILED, Outcome.TIMED_OUT}
    assert other.longest < LATE_SECONDS
