"""The amqp executor against a real RabbitMQ."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from msgspec.structs import replace

from app.core.runs.outcome import Outcome, Report
from app.targets.amqp import connect, pool
from app.targets.amqp.executor import AmqpExecutor
from app.targets.executors import Executors
from app.targets.net.guard import Guard
from app.targets.registry import decode_target
from tests.support.attempts import JOB, NEARBY, RUN, TRACE, attempt
from tests.support.rabbit import Broker
from tests.support.sink import Sink

SHORT_SECONDS = 0.5
PATIENCE_SECONDS = 5.0

Publish = Callable[..., Awaitable[Report]]


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    async with Executors(egress=NEARBY) as executors:
        yield executors


@pytest.fixture
def publish(executors: Executors, amqp_url: str) -> Publish:
    """Carries out an attempt at a target made of the keyword arguments."""

    async def publish(*, within: float = 10.0, **target: object) -> Report:
        decoded = decode_target("amqp", {"url": amqp_url} | target)
        context = attempt(within=within, job_name="nächtlicher Bericht")
        return await executors.execute("amqp", decoded, context)

    return publish


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(amqp_url) as connection:
        yield await connection.channel()


@pytest.fixture
async def queue(channel: AbstractChannel) -> AbstractQueue:
    return await channel.declare_queue(f"test-{uuid4()}", exclusive=True)


async def taken(queue: AbstractQueue) -> AbstractIncomingMessage:
    message = await queue.get(no_ack=True)
    assert message is not None
    return message


async def bodies(queue: AbstractQueue) -> list[bytes]:
    found = []
    while message := await queue.get(no_ack=True, fail=False):
        found.append(message.body)
    return found


def links(executors: Executors) -> dict[str, pool.Link]:
    executor = executors.opened["amqp"]
    assert isinstance(executor, AmqpExecutor)
    return {broker.url: link for broker, link in executor.pool.links.items()}


async def test_what_is_waited_for_before_a_message_is_sent_is_told(
    executors: Executors, amqp_url: str, queue: AbstractQueue, monkeypatch: pytest.MonkeyPatch
):
    resolve = Guard.find_addresses

    async def slowly(guard: Guard, host: str, port: int) -> list[str]:
        await asyncio.sleep(SHORT_SECONDS)
        return await resolve(guard, host, port)

    monkeypatch.setattr(Guard, "find_addresses", slowly)
    told: list[float] = []
    target = decode_target("amqp", {"url": amqp_url, "routing_key": queue.name})
    for _ in range(2):
        context = replace(attempt(), waited=told.append)
        report = await executors.execute("amqp", target, context)
        assert report.outcome is Outcome.SUCCEEDED

    first, second = told
    assert first >= SHORT_SECONDS
    assert second < SHORT_SECONDS, "the connection was there"


async def test_an_attempt_that_sends_no_message_tells_of_no_wait(
    executors: Executors,
):
    told: list[float] = []
    target = decode_target("amqp", {"url": "amqp://guest:guest@127.0.0.1:1/", "routing_key": "x"})
    report = await executors.execute("amqp", target, replace(attempt(), waited=told.append))

    assert (report.outcome, report.reason) == (Outcome.FAILED, "connect")
    assert told == []


async def test_every_property_of_a_message_arrives(
    publish: Publish, channel: AbstractChannel, queue: AbstractQueue
):
    exchange = await channel.declare_exchange(f"test-{uuid4()}", "topic", auto_delete=True)
    await queue.bind(exchange, "reports.*")
    before = datetime.now(UTC).replace(microsecond=0)

    report = await publish(
        exchange=exchange.name,
        routing_key="reports.daily",
        json={"pages": 3, "title": "Été"},
        headers={"x-delay": 5000, "table": {"deep": [1, "two", None]}, "half": 0.5},
        priority=7,
        expiration_seconds=90.25,
        correlation_id="c-1",
        reply_to="answers",
        type="report",
    )

    assert report == Report(outcome=Outcome.SUCCEEDED)
    message = await taken(queue)
    assert message.body == b'{"pages":3,"title":"\xc3\x89t\xc3\xa9"}'
    assert message.routing_key == "reports.daily"
    assert message.content_type == "application/json"
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert message.priority == 7
    assert message.expiration == 90.25
    assert message.correlation_id == "c-1"
    assert message.reply_to == "answers"
    assert message.type == "report"
    assert message.app_id == "tocsin"
    assert message.message_id == f"{JOB}:{RUN}"
    assert message.timestamp is not None
    assert before <= message.timestamp <= datetime.now(UTC)
    assert message.headers == {
        "x-delay": 5000,
        "table": {"deep": [1, "two", None]},
        "half": 0.5,
        "Tocsin-Job-Id": str(JOB),
        "Tocsin-Job-Name": "nächtlicher Bericht",
        "Tocsin-Execution-Id": "42",
        "Tocsin-Scheduled-For": RUN,
        "Tocsin-Attempt": "2",
        "traceparent": TRACE,
    }
    assert type(message.headers["x-delay"]) is int


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"body": "Grüße"}, ("Grüße".encode(), "text/plain; charset=utf-8")),
        ({"body_base64": "AP8Q"}, (b"\x00\xff\x10", "application/octet-stream")),
        ({"json": [1, None]}, (b"[1,null]", "application/json")),
        ({"body": "<a/>", "content_type": "text/xml"}, (b"<a/>", "text/xml")),
        ({}, (b"", None)),
    ],
    ids=["text", "bytes", "json", "own type", "nothing"],
)
async def test_a_body_arrives_byte_for_byte(
    publish: Publish,
    queue: AbstractQueue,
    given: dict[str, Any],
    expected: tuple[bytes, str | None],
):
    report = await publish(routing_key=queue.name, **given)

    assert report.outcome is Outcome.SUCCEEDED
    message = await taken(queue)
    assert (message.body, message.content_type) == expected


async def test_a_message_that_need_not_outlive_the_broker_is_marked_so(
    publish: Publish, queue: AbstractQueue
):
    await publish(routing_key=queue.name, persistent=False)

    message = await taken(queue)
    assert message.delivery_mode is aio_pika.DeliveryMode.NOT_PERSISTENT


async def test_a_message_that_no_queue_takes_is_a_failure(publish: Publish):
    report = await publish(routing_key=f"nobody-{uuid4()}")

    assert report.outcome is Outcome.FAILED
    assert report.reason == "unroutable"
    assert report.retryable


async def test_a_message_that_no_queue_has_to_take_is_a_success(publish: Publish):
    report = await publish(routing_key=f"nobody-{uuid4()}", mandatory=False)

    assert report.outcome is Outcome.SUCCEEDED


async def test_a_message_for_a_queue_that_is_full_is_a_failure(
    publish: Publish, channel: AbstractChannel
):
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    full = await channel.declare_queue(f"test-{uuid4()}", exclusive=True, arguments=limits)
    await publish(routing_key=full.name)

    report = await publish(routing_key=full.name)

    assert report.reason == "nacked"
    assert report.retryable


async def test_a_missing_exchange_may_be_there_at_the_next_attempt(publish: Publish):
    report = await publish(exchange="not-yet", routing_key="x")

    assert report.reason == "exchange"
    assert report.retryable
    assert "no exchange 'not-yet'" in (report.error or "")


async def test_an_exchange_we_may_not_write_to_is_a_final_failure(
    publish: Publish, channel: AbstractChannel
):
    internal = await channel.declare_exchange(
        f"test-{uuid4()}", "fanout", internal=True, auto_delete=True
    )

    report = await publish(exchange=internal.name)

    assert report.reason == "exchange"
    assert not report.retryable


async def test_a_message_that_the_broker_calls_malformed_is_a_final_failure(
    publish: Publish, queue: AbstractQueue
):
    report = await publish(routing_key=queue.name, headers={"CC": "must be an array"})

    assert report.reason == "target"
    assert not report.retryable


async def test_a_wrong_password_is_named_but_not_shown(publish: Publish, amqp_url: str):
    address = urlsplit(amqp_url)
    url = f"amqp://guest:hunter2-is-wrong@{address.hostname}:{address.port}/"

    report = await publish(url=url, routing_key="x")

    assert report.reason == "auth"
    assert not report.retryable
    assert "ACCESS_REFUSED" in (report.error or "")
    assert "hunter2" not in repr(report)


async def test_an_unknown_virtual_host_is_a_final_failure(publish: Publish, amqp_url: str):
    report = await publish(
        url=urlsplit(amqp_url)._replace(path="/nowhere").geturl(), routing_key="x"
    )

    assert report.reason == "auth"
    assert "virtual host" in (report.error or "")


async def test_bad_publishes_do_not_harm_those_beside_them(publish: Publish, queue: AbstractQueue):
    """A broker closes the channel of a bad publish, and with it every other one on it."""
    exchanges = ["there-is-none" if n % 10 == 0 else "" for n in range(200)]

    reports = await asyncio.gather(
        *(
            publish(exchange=exchange, routing_key=queue.name, body=str(n))
            for n, exchange in enumerate(exchanges)
        )
    )

    outcomes = Counter((report.outcome, report.reason) for report in reports)
    assert outcomes == {(Outcome.SUCCEEDED, None): 180, (Outcome.FAILED, "exchange"): 20}
    arrived = Counter(await bodies(queue))
    assert arrived == {str(n).encode(): 1 for n in range(200) if n % 10}


@pytest.mark.parametrize(
    ("url", "reason"),
    [("amqp://127.0.0.1:1/", "connect"), ("amqp://nowhere.invalid/", "dns")],
    ids=["refused", "unknown"],
)
async def test_a_broker_that_is_not_there_is_a_failure(publish: Publish, url: str, reason: str):
    report = await publish(url=url, routing_key="x")

    assert report.outcome is Outcome.FAILED
    assert report.reason == reason
    assert report.retryable


async def test_a_failed_connection_starts_nothing_when_it_is_collected(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
):
    """The client's connections close themselves in a task of their own if nobody else does."""
    log = logging.getLogger("aiormq.connection")
    monkeypatch.setattr(log, "disabled", True)  # pytest keeps what is logged, with its traceback
    gc.disable()
    try:
        await publish(url="amqp://127.0.0.1:1/", routing_key="x")
        gc.collect()
        tasks = asyncio.all_tasks()
    finally:
        gc.enable()

    assert tasks == {asyncio.current_task()}


async def test_a_server_without_tls_is_not_talked_to(publish: Publish, amqp_url: str):
    report = await publish(url=amqp_url.replace("amqp:", "amqps:"), routing_key="x")

    assert report.reason == "tls"


async def test_a_server_that_speaks_another_amqp_is_a_failure(publish: Publish, sink: Sink):
    """A broker says which version it speaks, and closes, when ours is another one."""
    sink.greeting = b"AMQP\x00\x01\x00\x00"

    report = await publish(url=f"amqp://127.0.0.1:{sink.port}/", routing_key="x")

    assert report.reason == "protocol"
    assert report.error == "what answers there does not speak AMQP 0-9-1"


async def test_a_certificate_that_nobody_vouches_for_gets_no_password(
    publish: Publish, tls_sink: Sink
):
    report = await publish(url=f"amqps://me:sesame@127.0.0.1:{tls_sink.port}/", routing_key="x")

    assert report.reason == "tls"
    assert "certificate verify failed" in (report.error or "")


async def test_odd_passwords_and_virtual_hosts_are_percent_encoded(
    publish: Publish, broker: Broker
):
    address = urlsplit(broker.url)
    user, password, vhost = "me+you", "p@s/s:w#r?d%+ ü", "/odd v/host"
    await broker.control("add_user", user, password)
    await broker.control("add_vhost", vhost)
    await broker.control("set_permissions", "-p", vhost, user, ".*", ".*", ".*")
    try:
        parts = [quote(part, safe="") for part in (user, password, vhost)]
        url = "amqp://{}:{}@{}:{}/{}".format(*parts[:2], address.hostname, address.port, parts[2])
        report = await publish(url=url, routing_key="x", mandatory=False)
    finally:
        await broker.control("delete_vhost", vhost)
        await broker.control("delete_user", user)

    assert report.outcome is Outcome.SUCCEEDED


async def test_a_silent_server_costs_the_timeout_and_no_connection(publish: Publish, sink: Sink):
    url = f"amqp://127.0.0.1:{sink.port}/"

    report = await publish(url=url, routing_key="x", within=SHORT_SECONDS)

    assert report.outcome is Outcome.TIMED_OUT
    assert report.error == "no connection to the broker within 0.5 s"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sink.wires[0].closed.wait()


async def test_one_failure_to_connect_speaks_for_all_who_wait(publish: Publish, sink: Sink):
    """Otherwise a hundred jobs of a broker that is gone would knock one after the other."""
    url = f"amqp://127.0.0.1:{sink.port}/"
    knocks = asyncio.gather(*(publish(url=url, routing_key="x") for _ in range(20)))

    await sink.connected()
    sink.wires[0].transport.abort()
    reports = await knocks

    assert {report.reason for report in reports} == {"closed"}
    assert len(sink.wires) == 1


async def test_connections_and_channels_are_used_again(
    publish: Publish, executors: Executors, queue: AbstractQueue
):
    for _ in range(5):
        await publish(routing_key=queue.name)

    [link] = links(executors).values()
    assert len(link.idle) == 1
    assert len(await bodies(queue)) == 5


async def test_a_channel_that_failed_is_closed_and_its_slot_is_free_again(
    publish: Publish, executors: Executors, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool, "MAX_CHANNELS", 1)

    reasons = [(await publish(routing_key=f"nobody-{uuid4()}")).reason for _ in range(3)]

    assert reasons == ["unroutable"] * 3
    [link] = links(executors).values()
    assert not link.idle


async def test_a_cut_off_publish_ends_the_use_of_its_connection(
    publish: Publish, executors: Executors, amqp_url: str, queue: AbstractQueue
):
    """Who knows whether the other side is still there? The next attempt must not wait on it."""
    async with relay(amqp_url) as (url, frozen):
        await publish(url=url, routing_key=queue.name)
        [link] = links(executors).values()
        frozen.set()

        late = await publish(url=url, routing_key=queue.name, within=SHORT_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await link.connection.closed()
        frozen.clear()
        again = await publish(url=url, routing_key=queue.name)

    assert late.outcome is Outcome.TIMED_OUT
    assert late.error == "the broker did not confirm the message within 0.5 s"
    assert again.outcome is Outcome.SUCCEEDED


async def test_an_idle_connection_is_closed(
    publish: Publish,
    executors: Executors,
    queue: AbstractQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(pool, "UPKEEP_SECONDS", 0.01)
    await publish(routing_key=queue.name)
    [link] = links(executors).values()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await link.connection.closed()

    assert not links(executors)


async def test_beyond_the_most_connections_the_one_used_longest_ago_is_closed(
    publish: Publish,
    executors: Executors,
    amqp_url: str,
    queue: AbstractQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 2)
    urls = [urlsplit(amqp_url)._replace(path=path).geturl() for path in ("", "/", "/%2F")]
    first, second, third = urls
    await publish(url=first, routing_key=queue.name)
    await publish(url=second, routing_key=queue.name)
    oldest = links(executors)[second]

    await publish(url=first, routing_key=queue.name)
    await publish(url=third, routing_key=queue.name)

    assert list(links(executors)) == [first, third]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await oldest.connection.closed()


async def test_a_broker_that_comes_back_gets_the_next_message(publish: Publish, broker: Broker):
    async with await aio_pika.connect(broker.url) as connection:
        await (await connection.channel()).declare_queue("survivor", durable=True)
    first = await publish(url=broker.url, routing_key="survivor")

    await broker.control("stop_app")
    try:
        during = await publish(url=broker.url, routing_key="survivor")
    finally:
        await broker.control("start_app")
    await broker.listens()
    after = await publish(url=broker.url, routing_key="survivor")

    assert first.outcome is Outcome.SUCCEEDED
    assert during.outcome is Outcome.FAILED
    assert during.reason in {"connect", "closed"}
    assert during.retryable
    assert after.outcome is Outcome.SUCCEEDED
    async with await aio_pika.connect(broker.url) as connection:
        survivor = await (await connection.channel()).get_queue("survivor")
        assert len(await bodies(survivor)) == 2
        await survivor.delete()


async def test_a_broker_that_goes_away_during_a_publish_is_a_failure(
    publish: Publish, amqp_url: str, queue: AbstractQueue
):
    async with relay(amqp_url) as (url, frozen):
        await publish(url=url, routing_key=queue.name)
        frozen.set()
        publishing = asyncio.ensure_future(publish(url=url, routing_key=queue.name))
        await asyncio.sleep(SHORT_SECONDS)  # the message is on its way, the answer is held up

    report = await publishing

    assert report.outcome is Outcome.FAILED
    assert report.reason == "closed"
    assert report.retryable


async def test_a_broker_that_falls_silent_is_given_up_before_the_timeout(
    publish: Publish, amqp_url: str, queue: AbstractQueue, monkeypatch: pytest.MonkeyPatch
):
    """The client ends whoever waits on it with a CancelledError that nobody asked for."""
    monkeypatch.setattr(connect, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr("aiormq.Connection.HEARTBEAT_GRACE_MULTIPLIER", 0.5)
    async with relay(amqp_url) as (url, frozen):
        await publish(url=url, routing_key=queue.name)
        frozen.set()
        report = await publish(url=url, routing_key=queue.name)

    assert report.outcome is Outcome.FAILED
    assert report.reason == "closed"
    assert report.retryable


async def test_a_broker_that_blocks_publishers_is_sent_nothing_more(
    publish: Publish, broker: Broker
):
    """What was sent before it said so may still arrive; what waits for it never does."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"test-{uuid4()}", exclusive=True)
        target = {"url": broker.url, "routing_key": queue.name}
        await publish(**target, body="before")

        await broker.control("set_vm_memory_high_watermark", "0.000001")
        try:
            sent = await publish(**target, body="sent", within=SHORT_SECONDS)
            kept = await publish(**target, body="kept", within=SHORT_SECONDS)
        finally:
            await broker.control("set_vm_memory_high_watermark", "0.4")
        after = await publish(**target, body="after")

        assert sent.outcome is Outcome.TIMED_OUT
        assert kept.outcome is Outcome.FAILED
        assert kept.reason == "alarm"
        assert after.outcome is Outcome.SUCCEEDED
        assert await bodies(queue) == [b"before", b"sent", b"after"]


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the broker that passes nothing on while its event is set; ends with a reset."""
    address = urlsplit(url)
    frozen = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            while data := await reader.read(65_536):
                if not frozen.is_set():
                    writer.write(data)
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"amqp://{address.username}:{address.password}@127.0.0.1:{port}/", frozen
        for writer in writers:
            writer.transport.abort()


async def test_what_is_prepared_has_a_channel(
    executors: Executors, publish: Publish, queue: AbstractQueue, amqp_url: str
):
    target = decode_target("amqp", {"url": amqp_url, "exchange": "", "routing_key": queue.name})
    for _ in range(2):
        await executors.prepare("amqp", target, attempt())
    [link] = links(executors).values()
    prepared = list(link.idle)

    await publish(exchange="", routing_key=queue.name, body="x")

    assert len(prepared) == 1
    assert link.idle == prepared
    assert await bodies(queue) == [b"x"]
