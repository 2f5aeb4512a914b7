"""The http executor against receivers that misbehave, and against jobs that would harm others."""

import asyncio
import gzip
import time
import tracemalloc
from pathlib import Path

import pytest

from app.core.runs.outcome import Outcome
from app.targets.executors import Executors
from app.targets.http.answer import MAX_RESPONSE_LENGTH
from app.targets.registry import decode_target
from tests.support.attempts import NEARBY, Send, attempt
from tests.support.sink import (
    DRIP_SECONDS,
    Behaviour,
    Received,
    Sink,
    Wire,
    cut,
    drip,
    endless,
    hang,
    hang_up,
    late,
    reply,
    reset,
)

SHORT_SECONDS = 0.3
BRIEFLY_SECONDS = 0.02
PATIENCE_SECONDS = 5.0
BOMB_BYTES = 50_000_000


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_request_is_sent_once_though_the_kept_connection_breaks(
    send: Send, sink: Sink, method: str
):
    """aiohttp would send most of these again, of its own accord; the first may have been done."""
    sink.on("/", reply(200), hang_up)

    first = await send(url=sink.url(), method=method)
    second = await send(url=sink.url(), method=method)

    assert first.outcome is Outcome.SUCCEEDED
    assert second.reason == "closed"
    assert second.retryable
    assert [request.connection for request in sink.requests] == [1, 1]


async def test_a_connection_that_its_server_has_closed_costs_no_attempt(
    executors: Executors, send: Send, sink: Sink
):
    """Though our event loop has not come round to noticing it."""
    await send(url=sink.url())
    [kept] = executors.opened["http"].client.used_at.keys()
    kept.transport.pause_reading()
    sink.wires[0].transport.close()
    await asyncio.sleep(2 * BRIEFLY_SECONDS)

    second = await send(url=sink.url())

    assert second.outcome is Outcome.SUCCEEDED
    assert [request.connection for request in sink.requests] == [1, 2]


async def test_what_is_noted_of_hosts_does_not_add_up(
    executors: Executors, send: Send, sink: Sink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("app.targets.http.client.MAX_KEPT", 1)

    for host in ("127.0.0.1", "127.0.0.2", "localhost", "127.0.0.1"):
        await send(url=sink.url(host=host))

    assert len(executors.opened["http"].client.kept) <= 2
    assert len(executors.opened["http"].client.used_at) == 1
    assert len(sink.requests) == 4


@pytest.mark.parametrize("pause", [0.0, 2 * BRIEFLY_SECONDS], ids=["at once", "later"])
async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    executors: Executors, send: Send, sink: Sink, pause: float
):
    async def twice(wire: Wire, _: Received) -> None:
        await wire.write(reply(200, b"mine"))
        await asyncio.sleep(pause)
        await wire.write(reply(200, b"somebody else's"))

    sink.on("/", twice, reply(200, b"mine too"))

    first = await send(url=sink.url())
    await asyncio.sleep(2 * pause + BRIEFLY_SECONDS)
    second = await send(url=sink.url())

    assert (first.response, second.response) == ("mine", "mine too")
    assert [request.connection for request in sink.requests] == [1, 2]
    assert len(executors.opened["http"].client.kept) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason", "status_code"),
    [
        (hang_up, "closed", None),
        (reset, "closed", None),
        (cut(b"HTTP/1.1 200 OK\r\nContent-Le"), "closed", None),
        (cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), "closed", 200),
        (cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "protocol", None),
        (cut(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol", None),
        (cut(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n"), "protocol", None),
        (cut(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n"), "protocol", None),
        (
            cut(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            "protocol",
            None,
        ),
    ],
    ids=[
        *("hangs up", "resets", "cuts the head", "cuts the body", "bad chunk"),
        *("other protocol", "long header", "many headers", "two lengths"),
    ],
)
async def test_a_broken_answer_is_a_failure_that_may_be_retried(
    send: Send, sink: Sink, behaviour: Behaviour, reason: str, status_code: int | None
):
    report = await send(url=sink.on("/x", behaviour))

    assert report.outcome is Outcome.FAILED
    assert report.reason == reason
    assert report.status_code == status_code
    assert report.retryable
    assert len(sink.requests) == 1


@pytest.mark.parametrize(
    "behaviour", [hang, drip(reply(200, headers={"X": "y" * 100}))], ids=["silent", "drips"]
)
@pytest.mark.alone
async def test_a_timeout_is_for_everything(send: Send, sink: Sink, behaviour: Behaviour):
    """One that starts anew with every byte would never end an answer that drips."""
    started = time.monotonic()

    report = await send(url=sink.on("/x", behaviour), within=SHORT_SECONDS)

    assert report.outcome is Outcome.TIMED_OUT
    assert report.reason == "timeout"
    assert report.error == "no answer within 0.3 s"
    assert report.retryable
    assert SHORT_SECONDS <= time.monotonic() - started < SHORT_SECONDS + 0.5


async def test_a_body_that_drips_is_timed_out_too(send: Send, sink: Sink):
    async def drip_body(wire: Wire, request: Received) -> None:
        await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            await wire.write(b"x")
            await asyncio.sleep(DRIP_SECONDS)

    report = await send(url=sink.on("/x", drip_body), within=SHORT_SECONDS)

    assert report.outcome is Outcome.TIMED_OUT
    assert report.status_code == 200
    assert report.error == "the answer was not complete within 0.3 s"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sink.wires[0].closed.wait()


async def test_an_attempt_that_is_cancelled_closes_its_connection(send: Send, sink: Sink):
    sending = asyncio.ensure_future(send(url=sink.on("/x", hang)))
    await sink.arrived()

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sink.wires[0].closed.wait()


@pytest.mark.alone
async def test_those_that_hang_do_not_hold_up_others(send: Send, sink: Sink):
    sink.on("/hang", hang)
    hanging = [asyncio.ensure_future(send(url=sink.url("/hang"), within=60)) for _ in range(200)]
    await sink.arrived(200)
    started = time.monotonic()

    reports = await asyncio.gather(*(send(url=sink.url("/good")) for _ in range(50)))

    assert {report.outcome for report in reports} == {Outcome.SUCCEEDED}
    assert time.monotonic() - started < 2
    for attempt_ in hanging:
        attempt_.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_an_endless_body_is_read_as_far_as_it_is_kept(send: Send, sink: Sink):
    report = await send(url=sink.on("/x", endless))

    assert report.outcome is Outcome.SUCCEEDED
    assert report.response == "x" * MAX_RESPONSE_LENGTH
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sink.wires[0].closed.wait()
    assert sink.poured < 10_000_000


async def test_a_compressed_bomb_is_not_unpacked(send: Send, sink: Sink):
    bomb = gzip.compress(b"\0" * BOMB_BYTES)
    url = sink.on("/x", reply(200, bomb, {"Content-Encoding": "gzip"}))
    tracemalloc.start()

    report = await send(url=url)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.outcome is Outcome.SUCCEEDED
    assert (report.response or "").startswith("\x1f")  # as it came
    assert peak < BOMB_BYTES / 10


async def test_an_answer_that_is_no_text_can_be_stored_as_text(send: Send, sink: Sink):
    report = await send(url=sink.on("/x", reply(200, b"a\0b\xff\xfec")))

    assert report.response == "a\N{REPLACEMENT CHARACTER}b" + "\N{REPLACEMENT CHARACTER}" * 2 + "c"


async def test_an_answer_that_repeats_our_secrets_is_kept_without_them(send: Send, sink: Sink):
    async def echo(wire: Wire, request: Received) -> None:
        await wire.write(reply(400, request.head))

    report = await send(
        url=sink.on("/x", echo),
        auth={"type": "basic", "username": "me", "password": "open-sesame"},
        headers={"X-Api-Key": "k-123456", "Accept": "*/*"},
    )

    assert "X-Api-Key: ***" in (report.response or "")
    assert "Authorization: Basic ***" in (report.response or "")
    assert "Accept: */*" in (report.response or "")


async def test_a_cookie_of_one_job_is_not_sent_with_another(send: Send, sink: Sink):
    sink.on("/login", reply(200, headers={"Set-Cookie": "session=stolen; Path=/"}))

    await send(url=sink.url("/login", host="localhost"))  # cookie jars take none from an address
    await send(url=sink.url("/other", host="localhost"))

    assert "cookie" not in sink.requests[1].headers


async def test_neither_proxies_nor_passwords_come_from_the_environment(
    send: Send, sink: Sink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password sesame\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    report = await send(url=sink.url())

    assert report.outcome is Outcome.SUCCEEDED
    assert "authorization" not in sink.requests[0].headers


async def test_a_certificate_that_nobody_vouches_for_is_refused(send: Send, tls_sink: Sink):
    report = await send(url=tls_sink.url())

    assert report.outcome is Outcome.FAILED
    assert report.reason == "tls"
    assert "self-signed certificate" in (report.error or "")
    assert not tls_sink.requests


async def test_a_job_may_do_without_verification_alone(send: Send, tls_sink: Sink):
    """A connection that was not verified must not be handed to a job that wants verification."""
    lax = await send(url=tls_sink.url(), verify_tls=False)
    strict = await send(url=tls_sink.url())

    assert lax.outcome is Outcome.SUCCEEDED
    assert strict.reason == "tls"


async def test_a_server_without_tls_gets_no_request(send: Send, sink: Sink):
    sink.greeting = b"220 mail.example ESMTP\r\n"

    report = await send(url=sink.url().replace("http:", "https:"))

    assert report.reason == "tls"
    assert report.retryable


@pytest.mark.parametrize(
    ("url", "reason", "said"),
    [
        ("http://127.0.0.1:1/secret?token=abc", "connect", "no connection to 127.0.0.1:1"),
        ("http://nowhere.invalid/secret?token=abc", "dns", "the name nowhere.invalid was not"),
    ],
    ids=["refused", "unknown"],
)
async def test_a_host_that_is_not_there_is_named_without_the_path(
    send: Send, url: str, reason: str, said: str
):
    report = await send(url=url)

    assert report.outcome is Outcome.FAILED
    assert report.reason == reason
    assert said in (report.error or "")
    assert "token" not in (report.error or "")
    assert report.retryable


async def test_connections_to_one_host_can_be_limited(sink: Sink):
    sink.on("/x", late(0.05, reply(200)))
    async with Executors(egress=NEARBY, connections_per_host=2) as executors:
        target = decode_target("http", {"url": sink.url("/x")})

        reports = await asyncio.gather(
            *(executors.execute("http", target, attempt()) for _ in range(6))
        )

    assert {report.outcome for report in reports} == {Outcome.SUCCEEDED}
    assert len(sink.wires) == 2


async def test_a_limited_host_gets_no_connection_for_an_attempt_ahead_beside_its_own(sink: Sink):
    answered = asyncio.Event()

    async def held(wire: Wire, _: Received) -> None:
        await answered.wait()
        await wire.write(reply(200))

    sink.on("/x", held)
    async with Executors(egress=NEARBY, connections_per_host=1) as executors:
        target = decode_target("http", {"url": sink.url("/x")})
        executing = asyncio.create_task(executors.execute("http", target, attempt()))
        await sink.arrived(1)

        await executors.prepare("http", target, attempt())
        answered.set()
        first, second = await executing, await executors.execute("http", target, attempt())

    assert {first.outcome, second.outcome} == {Outcome.SUCCEEDED}
    assert (sink.most_open, len(sink.wires)) == (1, 1)


async def test_a_connection_opened_ahead_counts_and_is_the_one_that_is_used(sink: Sink):
    async with Executors(egress=NEARBY, connections_per_host=1) as executors:
        target = decode_target("http", {"url": sink.url("/x")})

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(executors.prepare("http", target, attempt()))
                group.create_task(executors.execute("http", target, attempt()))

    assert len(sink.requests) == 4
    assert (sink.most_open, len(sink.wires)) == (1, 1)


async def test_the_limit_is_of_the_host_whatever_its_tls_is_to_be_like(sink: Sink):
    async with Executors(egress=NEARBY, connections_per_host=1) as executors:
        for verify in (True, False, True, False):
            target = decode_target("http", {"url": sink.url("/x"), "verify_tls": verify})
            await executors.prepare("http", target, attempt())
            await executors.execute("http", target, attempt())

    assert len(sink.requests) == 4
    assert sink.most_open == 1
