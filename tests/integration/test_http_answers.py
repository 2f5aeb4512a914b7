"""Which answers count, whatever servers send, and what becomes of the connection afterwards."""

import asyncio
import select
import time
import tracemalloc
from collections.abc import Collection

import pytest

from app.core.runs.outcome import Outcome
from app.core.secrets.redaction import redact
from app.targets.executors import Executors
from app.targets.http.answer import MAX_INTERIM, MAX_RESPONSE_LENGTH
from app.targets.registry import decode_target
from app.targets.turns import Turns
from tests.support.attempts import Send, attempt
from tests.support.sink import Behaviour, Received, Sink, Wire, cut, reply, reset

PATIENCE_SECONDS = 5.0
PIECE_BYTES = 65_536
MAX_POURED = 20_000_000
"""What the buffers of two sockets hold, many times over; floods have no end."""
MAX_MEMORY = 10_000_000

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SAID = OK + b"Content-Length: 2\r\n\r\nok"


def saying(answer: bytes) -> Behaviour:
    """Send exactly this, in one piece, and leave the connection open."""

    async def behave(wire: Wire, _: Received) -> None:
        await wire.write(answer)

    return behave


def pouring(start: bytes, piece: bytes) -> Behaviour:
    """Begin like an answer, and go on with the same for ever."""

    async def behave(wire: Wire, _: Received) -> None:
        block = piece * (PIECE_BYTES // len(piece) + 1)
        await wire.write(start)
        while not wire.closed.is_set():
            await wire.write(block)
            wire.sink.poured += len(block)
            await asyncio.sleep(0)

    return behave


def with_field(line: bytes) -> bytes:
    return OK + line + b"\r\nContent-Length: 2\r\n\r\nok"


KEPT = {
    "plain": SAID,
    "equal lengths": OK + b"Content-Length: 2\r\nX: y\r\ncontent-length: 2\r\n\r\nok",
    "length in a list": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "length with zeros": OK + b"Content-Length: 0002\r\n\r\nok",
    "length in spaces": OK + b"Content-Length: \t2 \t\r\n\r\nok",
    "length and coding": OK
    + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding and length": OK
    + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks": CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "chunk with zeros": CHUNKED + b"0" * 1000 + b"2\r\nok\r\n000\r\n\r\n",
    "chunk in capitals": OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunk extensions": CHUNKED + b'2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n',
    "chunk with spaces": CHUNKED + b"2  \r\nok\r\n0  \r\n\r\n",
    "trailers": CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n",
    "trailers that are none": CHUNKED + b"2\r\nok\r\n0\r\n(bad)\r\n\r\n",
    "coded twice": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "line of 8,190": with_field(b"X: " + b"x" * 8_190),
    "line of 100,000": with_field(b"X: " + b"x" * 100_000),
    "name of 10,000": with_field(b"x" * 10_000 + b": y"),
    "reason of 10,000": b"HTTP/1.1 200 " + b"x" * 10_000 + SAID[15:],
    "200 lines": with_field(b"\r\n".join([b"X: y"] * 200)),
    "space before a colon": with_field(b"X \t: y"),
    "space before the colon of a length": OK + b"X : y\r\nContent-Length : 2\r\n\r\nok",
    "space before the colon of two": OK
    + b"X : y\r\nContent-Length : 2\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon of a coding": OK
    + b"X : y\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "folded line": with_field(b"X: a\r\n\tb"),
    "no text": with_field(b"X: \xff\xfe\x01"),
    "line feeds alone": SAID.replace(b"\r\n", b"\n"),
    "no reason": b"HTTP/1.1 200" + SAID[15:],
    "empty reason": b"HTTP/1.1 200 " + SAID[15:],
    "foreign reason": b"HTTP/1.1 200 \xc3\xa9\xff" + SAID[15:],
    "version 1.0": b"HTTP/1.0" + SAID[8:],
    "version 1.7": b"HTTP/1.7" + SAID[8:],
    "empty lines before": b"\r\n\r\n" + SAID,
    "goodbye": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "goodbye with more": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok" + SAID,
    "more than its length": SAID + b"kay",
    "two answers": SAID + SAID,
    "line break after it": SAID + b"\r\n",
    "more than its chunks": CHUNKED + b"2\r\nok\r\n0\r\n\r\nmore",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nRetry-After: 9\r\n\r\n" + SAID,
    "interim with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\n" + SAID,
    "interim with two": b"HTTP/1.1 100 C\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + SAID,
    "interim, then two": b"HTTP/1.1 100 Continue\r\n\r\n"
    + OK
    + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "interim that leaves": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + SAID,
    "interim of 1.0": b"HTTP/1.0 102 Processing\r\n\r\n" + SAID,
    "ten interim": b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM + SAID,
}


@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
@pytest.mark.parametrize("answer", KEPT.values(), ids=KEPT.keys())
async def test_a_complete_answer_counts_and_leaves_nothing_to_the_next(
    send: Send, sink: Sink, answer: bytes, pieces: str
):
    async def in_pieces(wire: Wire, _: Received) -> None:
        for index in range(len(answer)):
            wire.transport.write(answer[index : index + 1])
            await asyncio.sleep(0)

    slow = pieces == "byte by byte" and len(answer) < 3_000
    sink.on("/x", in_pieces if slow else saying(answer), reply(200, b"next"))

    first = await send(url=sink.url("/x"))
    second = await send(url=sink.url("/x"))

    assert (first.outcome, first.status_code, first.response) == (Outcome.SUCCEEDED, 200, "ok")
    assert (second.outcome, second.response) == (Outcome.SUCCEEDED, "next")
    assert len(sink.requests) == 2


@pytest.mark.parametrize(
    ("method", "answer", "status"),
    [
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\nsurprise", 204),
        ("POST", b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\nsurprise", 204),
        ("POST", b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n", 204),
        (
            "POST",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            204,
        ),
        ("POST", b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 204),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n" + SAID, 204),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n", 304),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\nsurprise", 304),
        ("HEAD", OK + b"Content-Length: 8\r\n\r\n", 200),
        ("HEAD", OK + b"Content-Length: 8\r\n\r\nsurprise", 200),
        ("HEAD", OK + b"Content-Length: 8\r\n\r\nsur", 200),
        ("HEAD", OK + b"Content-Length: 1, 2\r\n\r\n", 200),
        ("HEAD", CHUNKED, 200),
        ("HEAD", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200),
        ("HEAD", CHUNKED + b"2", 200),
        ("HEAD", OK + b"\r\n", 200),
        ("HEAD", OK + b"\r\nsurprise", 200),
        ("HEAD", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 8\r\n\r\n", 200),
    ],
)
async def test_an_answer_that_has_no_body_is_complete_with_its_head(
    send: Send, sink: Sink, method: str, answer: bytes, status: int
):
    sink.on("/x", saying(answer), reply(200, b"next"))

    first = await send(url=sink.url("/x"), method=method, success=[200, 204, 304])
    second = await send(url=sink.url("/x"))

    assert (first.outcome, first.status_code) == (Outcome.SUCCEEDED, status)
    assert first.response is None
    assert (second.outcome, second.response) == (Outcome.SUCCEEDED, "next")


@pytest.mark.parametrize("ending", [cut, "reset"], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("answer", "response"),
    [
        (SAID, "ok"),
        (OK + b"\r\nuntil the end", "until the end"),
        (OK + b"\r\n", None),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nzipped", "zipped"),
        (OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok", "2\r\nok"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\n", "ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n", "ok"),
        (CHUNKED + b"2\r\nok\r\n0;a=b\r\nX", "ok"),
    ],
)
async def test_a_complete_answer_counts_however_the_connection_ends(
    send: Send, sink: Sink, ending: object, answer: bytes, response: str | None
):
    async def then_reset(wire: Wire, request: Received) -> None:
        await wire.write(answer)
        await asyncio.sleep(0.05)  # or the reset would overtake it, on its way to us
        await reset(wire, request)

    report = await send(url=sink.on("/x", cut(answer) if ending is cut else then_reset))

    assert (report.outcome, report.status_code) == (Outcome.SUCCEEDED, 200)
    assert report.response == response
    assert len(sink.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 100\r\n\r\nabc",
        OK + b"Content-Length: 99999999999999999999999999\r\n\r\nabc",
        OK + b"Content-Length: %s\r\n\r\nabc" % (b"9" * 5_000),
        CHUNKED,
        CHUNKED + b"0",
        CHUNKED + b"5",
        CHUNKED + b"5\r\n",
        CHUNKED + b"1\r\n",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nok",
        CHUNKED + b"2\r\nok\r\n",
    ],
)
async def test_an_answer_cut_short_is_none_though_its_status_is_known(
    send: Send, sink: Sink, answer: bytes
):
    report = await send(url=sink.on("/x", cut(answer)))

    assert (report.outcome, report.reason) == (Outcome.FAILED, "closed")
    assert report.status_code == 200
    assert report.retryable


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"Content-Length: 2, 3\r\n\r\nok",
        OK + b"Content-Length: 2,\r\n\r\nok",
        OK + b"Content-Length: +2\r\n\r\nok",
        OK + b"Content-Length: -2\r\n\r\nok",
        OK + b"Content-Length: 0x2\r\n\r\nok",
        OK + b"Content-Length: 2 2\r\n\r\nok",
        OK + b"Content-Length: 2.0\r\n\r\nok",
        OK + b"Content-Length:\r\n\r\nok",
        CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffff\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
        CHUNKED + b"\r\nok\r\n0\r\n\r\n",
        b"x" + SAID,
        b"http/1.1" + SAID[8:],
        b"HTTP/1" + SAID[8:],
        b"HTTP/11.1" + SAID[8:],
        b"RTSP/1.0" + SAID[8:],
        b"ICY" + SAID[8:],
        b"HTTP/1.1 20 OK" + SAID[15:],
        b"HTTP/1.1 2000 OK" + SAID[15:],
        b"HTTP/1.1 099 OK" + SAID[15:],
        b"HTTP/1.1 -20 OK" + SAID[15:],
        b"HTTP/1.1 OK" + SAID[15:],
        b"GET / HTTP/1.1\r\nHost: you\r\n\r\n",
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\0\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x15\x03\x01\0\x02\x02\x46",
        with_field(b"no field"),
        with_field(b"(a): b"),
        with_field(b"X: a\rb"),
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + SAID,
        with_field(b"X: " + b"x" * 1_000_000),
        with_field(b"\r\n".join([b"X: y"] * 10_000)),
    ],
)
async def test_what_has_no_reading_is_no_answer(send: Send, sink: Sink, answer: bytes):
    sink.on("/x", saying(answer), reply(200, b"next"))

    first = await send(url=sink.url("/x"))
    second = await send(url=sink.url("/x"))

    assert (first.outcome, first.reason) == (Outcome.FAILED, "protocol")
    assert first.status_code is None
    assert first.retryable
    assert second.response == "next"
    assert [request.connection for request in sink.requests] == [1, 2]


FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n", "protocol"),
    "interim answers with fields": (b"", b"HTTP/1.1 103 Hint\r\nLink: </a>\r\n\r\n", "protocol"),
    "empty lines": (b"", b"\r\n", "protocol"),
    "a reason": (b"HTTP/1.1 200 ", b"x", "protocol"),
    "field lines": (OK, b"X: y\r\n", "protocol"),
    "lines that are noted": (OK, b"Location: y\r\n", "protocol"),
    "a field's name": (OK, b"x", "protocol"),
    "a field's value": (OK + b"X: ", b"x", "protocol"),
    "folded lines": (OK + b"X: y\r\n", b"\ty\r\n", "protocol"),
    "a length": (OK + b"Content-Length: ", b"0", "protocol"),
    "lengths": (OK, b"Content-Length: 2\r\n", "protocol"),
    "a body": (OK + b"\r\n", b"x", None),
    "a body with a length": (OK + b"Content-Length: 99999999999\r\n\r\n", b"x", None),
    "chunks of a byte": (CHUNKED, b"1\r\nx\r\n", None),
    "a chunk extension": (CHUNKED + b"2;", b"x", None),
    "chunk extensions": (CHUNKED, b"1;" + b"x" * 1_000 + b"\r\ny\r\n", None),
    "zeros before a size": (CHUNKED, b"0", None),
    "sizes with zeros": (CHUNKED, b"0" * 1_000 + b"1\r\ny\r\n", None),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\n", b"X: y\r\n", None),
    "a trailer": (CHUNKED + b"2\r\nok\r\n0\r\nX: ", b"y", None),
    "answers": (b"", SAID, None),
    "more upon a 204": (b"HTTP/1.1 204 No\r\n\r\n", b"x", None),
    "more upon a 101": (
        b"HTTP/1.1 101 S\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n",
        b"x",
        "status",
    ),
}


@pytest.mark.parametrize(("start", "piece", "reason"), FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_is_cut_off_soon_and_an_answer_in_it_counts(
    send: Send, sink: Sink, start: bytes, piece: bytes, reason: str | None
):
    sink.on("/flood", pouring(start, piece))
    tracemalloc.start()

    report = await send(url=sink.url("/flood"), within=60)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.reason == reason
    assert (report.outcome is Outcome.SUCCEEDED) is (reason is None)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sink.wires[0].closed.wait()
    assert sink.poured < MAX_POURED
    assert peak < MAX_MEMORY


async def test_others_are_answered_in_time_beside_floods(send: Send, sink: Sink):
    floods = list(FLOODS.values())
    for index, (start, piece, _) in enumerate(floods):
        sink.on(f"/{index}", pouring(start, piece))
    longest = 0.0

    async def be_flooded(index: int) -> None:
        for _ in range(5):
            await send(url=sink.url(f"/{index}"), within=60)

    flooding = asyncio.gather(*map(be_flooded, range(len(floods))))
    while not flooding.done():
        started = time.monotonic()
        report = await send(url=sink.url("/good"), within=60)
        longest = max(longest, time.monotonic() - started)
        assert report.outcome is Outcome.SUCCEEDED
        await asyncio.sleep(0.005)

    await flooding
    assert longest < 1.0


async def test_what_is_masked_for_long_is_cut_off_by_no_timeout(
    send: Send, sink: Sink, monkeypatch: pytest.MonkeyPatch
):
    async def slow(self: Turns, secrets: Collection[str], text: str) -> str:
        await asyncio.sleep(1.0)
        return redact(secrets, text)

    monkeypatch.setattr(Turns, "redact", slow)
    sink.on("/x", reply(200, b"you sent sesame" + b"!" * 2_000))

    report = await send(url=sink.url("/x"), headers={"X-Api-Key": "sesame"}, within=0.5)

    assert report.outcome is Outcome.SUCCEEDED
    assert (report.response or "").startswith("you sent ***!")


async def test_a_body_as_long_as_is_kept_leaves_the_connection_usable(send: Send, sink: Sink):
    sink.on(
        "/x", reply(200, b"x" * MAX_RESPONSE_LENGTH), reply(200, b"x" * (MAX_RESPONSE_LENGTH + 1))
    )

    reports = [await send(url=sink.url("/x")) for _ in range(3)]

    assert {report.response for report in reports} == {"x" * MAX_RESPONSE_LENGTH}
    assert [request.connection for request in sink.requests] == [1, 1, 2]


async def test_a_body_in_chunks_of_a_byte_is_read_as_far_as_it_is_kept(send: Send, sink: Sink):
    answer = CHUNKED + b"1;a=b\r\nx\r\n" * MAX_RESPONSE_LENGTH + b"0\r\n\r\n"
    sink.on("/x", saying(answer))

    report = await send(url=sink.url("/x"))
    await send(url=sink.url("/x"))

    assert report.response == "x" * MAX_RESPONSE_LENGTH
    assert [request.connection for request in sink.requests] == [1, 1]


class Impatient(Wire):
    """Answers as soon as it has a head, and closes without having read the rest."""

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - asyncio's signature
        self.transport.write(self.sink.greeting)
        self.transport.close()
        self.sink.news.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig",
        b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\nbig",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig",
    ],
    ids=["with a length", "until it closes", "after an interim one"],
)
async def test_an_answer_before_the_request_is_written_counts(
    send: Send, sink: Sink, answer: bytes
):
    sink.greeting = answer
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Quiet(sink), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    report = await send(url=f"http://127.0.0.1:{port}/", body="x" * 3_000_000)

    server.close()
    assert (report.outcome, report.reason) == (Outcome.FAILED, "status")
    assert (report.status_code, report.response) == (413, "big")


class Quiet(Impatient):
    """Says nothing to whoever connects."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.sink.wires.append(self)


async def test_a_server_that_refuses_whoever_connects_is_heard(send: Send, sink: Sink):
    sink.greeting = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    report = await send(url=sink.url())

    assert (report.reason, report.status_code) == ("status", 503)


async def test_what_is_said_on_a_connection_that_waits_is_nobodys_answer(
    executors: Executors, send: Send, sink: Sink
):
    """Opened ahead of its time, greeted with an answer, and not used for the next request."""
    sink.greeting = reply(200, b"somebody else's")
    await executors.prepare("http", decode_target("http", {"url": sink.url()}), attempt())
    await sink.until(lambda: len(sink.wires) == 1)
    await asyncio.sleep(0.05)
    sink.greeting = b""

    report = await send(url=sink.url())

    assert report.response == "ok"
    assert [request.connection for request in sink.requests] == [2]


@pytest.mark.parametrize(
    "more",
    [SAID, b"H", b"\r\n", b"surprise", b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["answer", "one byte", "empty line", "no answer", "interim"],
)
async def test_what_comes_after_an_answer_is_not_the_next_one_however_soon(
    executors: Executors, send: Send, sink: Sink, more: bytes
):
    """It is in the socket when the next request takes the connection, and the loop unaware."""
    sink.on("/x", reply(200, b"mine"), reply(200, b"mine too"))
    first = await send(url=sink.url("/x"))
    [kept] = executors.opened["http"].client.used_at
    kept.transport.pause_reading()
    arrived = select.poll()
    arrived.register(kept.transport.get_extra_info("socket").fileno(), select.POLLIN)
    sink.wires[0].transport.write(more)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not arrived.poll(0):  # noqa: ASYNC110 - behind the event loop's back
            await asyncio.sleep(0)
    kept.transport.resume_reading()

    second = await send(url=sink.url("/x"))

    assert (first.response, second.response) == ("mine", "mine too")
    assert [request.connection for request in sink.requests] == [1, 2]


async def test_tls_that_ends_without_a_goodbye_costs_no_answer(send: Send, tls_sink: Sink):
    async def end(wire: Wire, _: Received) -> None:
        await wire.write(OK + b"\r\nuntil the end")
        await asyncio.sleep(0.05)
        wire.transport.abort()

    report = await send(url=tls_sink.on("/x", end), verify_tls=False)

    assert (report.outcome, report.response) == (Outcome.SUCCEEDED, "until the end")


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [(101, "status", False), (600, "status", True), (999, "status", True)],
)
async def test_a_status_without_a_class_is_a_failure_of_the_server(
    send: Send, sink: Sink, *, status: int, reason: str, retryable: bool
):
    report = await send(url=sink.on("/x", saying(b"HTTP/1.1 %d X" % status + SAID[15:])))

    assert (report.reason, report.status_code) == (reason, status)
    assert report.retryable is retryable


async def test_a_trailer_is_no_header(send: Send, sink: Sink):
    answer = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 60\r\n\r\n"

    report = await send(url=sink.on("/x", saying(answer)))

    assert report.retry_after_seconds is None


async def test_several_wishes_to_be_left_alone_are_all_respected(send: Send, sink: Sink):
    lines = b"Retry-After: 30\r\nretry-after: 120\r\nRetry-After: soon\r\n"

    report = await send(
        url=sink.on("/x", saying(b"HTTP/1.1 503 No\r\n" + lines + b"Content-Length: 0\r\n\r\n"))
    )

    assert report.retry_after_seconds == 120


@pytest.mark.parametrize(
    "location",
    [
        b"http://h\xff\xfe/",
        b"http://\xed\xa0\x80/",
        b"http://[::1",
        b"http://h:99999/",
        b"//",
        b"http://h\0/",
        b"http://" + b"x" * 100_000,
        b"\xff" * 1_000,
        b"http://xn--\xc3\xa9/",
        b"javascript:alert(1)",
    ],
)
async def test_a_redirect_to_nonsense_is_the_servers_fault_not_ours(
    send: Send, sink: Sink, location: bytes
):
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % location

    report = await send(url=sink.on("/x", saying(answer)), follow_redirects=True)

    assert report.outcome is Outcome.FAILED
    assert report.reason != "internal"
    (report.error or "").encode()
