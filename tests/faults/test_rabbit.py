"""RabbitMQ is cut off, silent, restarted, short of memory: no message is lost, HTTP goes on."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.faults.conftest import MAX_SLEEP_SECONDS, Case, through
from tests.support.builders import execution_rows, insert_job
from tests.support.ledger import key_of
from tests.support.proxy import Proxy
from tests.support.rabbit import Broker
from tests.support.waiting import until


@pytest.fixture
async def rabbit_proxy(broker: Broker) -> AsyncIterator[Proxy]:
    address = urlsplit(broker.url)
    async with Proxy(str(address.hostname), address.port or 5672).listening() as proxy:
        yield proxy


@asynccontextmanager
async def queue(url: str) -> AsyncIterator[tuple[AbstractChannel, str]]:
    """Have a durable queue, gone afterwards."""
    name = f"faults-{uuid4().hex}"
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True)
        yield channel, name
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(name)


async def publish_steadily(case: Case, target: dict[str, str], stopping: asyncio.Event) -> None:
    """Insert jobs for a queue, as `Load` does for HTTP."""
    while not stopping.is_set():
        job_id = await insert_job(
            case.connection,
            kind="amqp",
            target=target,
            backoff_seconds=0.2,
            max_attempts=30,
            timeout_seconds=2.0,
        )
        due = await case.connection.fetchval(
            "select scheduled_for from tocsin.jobs where id = $1", job_id
        )
        case.ledger.runs.add(key_of(job_id, due))
        await asyncio.sleep(case.chance.uniform(0, 0.1))


async def drained(case: Case, url: str, name: str) -> None:
    """Take every message out of the queue and note it."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        taken = await channel.get_queue(name)
        while (message := await taken.get(fail=False)) is not None:
            await case.ledger.consumed(message)


@pytest.mark.parametrize(
    "fault", ["cut", "half_open", "refuse", "stall", "stop_app", "kill", "memory_alarm"]
)
async def test_the_broker(case: Case, broker: Broker, rabbit_proxy: Proxy, fault: str) -> None:
    await case.processes.instance()
    stopping = asyncio.Event()
    async with queue(broker.url) as (_, name):
        target = {"url": through(rabbit_proxy, broker.url), "routing_key": name}
        async with case.load.running(per_second=20), asyncio.TaskGroup() as group:
            group.create_task(publish_steadily(case, target, stopping), name="publish")
            await case.moment(0.7)
            with case.ledger.fault(f"RabbitMQ: {fault}"):
                await breaking(fault, broker, rabbit_proxy)
            await case.moment(1.0)
            stopping.set()
        await published(case)
        await drained(case, broker.url, name)

        findings = await case.verdict()

    assert findings.promised > 20
    lags = await case.connection.fetch(
        """select extract(epoch from started_at - scheduled_for)::float8 as lag
           from tocsin.executions where kind = 'http'"""
    )
    late = [row["lag"] for row in lags]
    assert statistics.quantiles(late, n=10)[-1] < 0.5
    assert max(late) < MAX_SLEEP_SECONDS + 1.0


async def breaking(fault: str, broker: Broker, proxy: Proxy) -> None:
    match fault:
        case "cut":
            for _ in range(5):
                proxy.cut_all()
                await asyncio.sleep(0.2)
        case "half_open":
            proxy.half_open_all()
            await asyncio.sleep(2.0)
        case "refuse":
            proxy.refusing = True
            proxy.cut_all()
            await asyncio.sleep(1.5)
            proxy.refusing = False
        case "stall":
            proxy.stall_all()
            await asyncio.sleep(3.0)
            proxy.resume_all()
        case "stop_app":
            await broker.control("stop_app")
            await broker.control("start_app")
            await broker.listens()
        case "kill":
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            await broker.listens()
        case "memory_alarm":
            await broker.control("set_vm_memory_high_watermark", "0.00001")
            await asyncio.sleep(3.0)
            await broker.control("set_vm_memory_high_watermark", "0.4")
        case _:
            raise ValueError(fault)


async def published(case: Case) -> None:
    """Wait until every job for the queue has ended."""
    question = """select not exists (select from tocsin.jobs
                                   where kind = 'amqp' and next_run is not null)"""
    await until(lambda: case.connection.fetchval(question), "all was published", within=30)


async def test_what_no_queue_takes_fails_alone_and_says_so(case: Case, broker: Broker) -> None:
    instance = await case.processes.instance()
    async with queue(broker.url) as (_, name):
        bad = {"url": broker.url, "exchange": "nowhere", "routing_key": "x"}
        unroutable = {"url": broker.url, "routing_key": f"no-{name}"}
        good = {"url": broker.url, "routing_key": name}
        jobs = [
            (await insert_job(case.connection, kind="amqp", target=target, max_attempts=1), target)
            for target in [bad, good, unroutable, good] * 10
        ]
        await instance.says("settled", count=len(jobs))
        await drained(case, broker.url, name)

    outcomes = {
        job_id: (await execution_rows(case.connection, job_id))[0]["outcome"] for job_id, _ in jobs
    }
    assert all((outcomes[id] == "succeeded") == (target is good) for id, target in jobs)
    assert len(case.ledger.deliveries) == 20
    await case.verdict()
