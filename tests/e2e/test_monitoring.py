"""The ports on which instances answer probes and Prometheus, as processes."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest

from tests.support.builders import insert_job
from tests.support.cluster import Processes
from tests.support.rabbit import free_ports
from tests.support.scrape import Samples, samples
from tests.support.sink import Received, Sink, Wire, reply
from tests.support.waiting import until

PATIENCE_SECONDS = 30.0


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[Processes]:
    settings = {"database_url": database_url, "allow_private_targets": "true"}
    async with Processes(in_roles=True, **settings).running() as running:
        yield running


async def answered(port: int, path: str) -> httpx.Response | None:
    """Give the answer; None while nothing listens."""
    async with httpx.AsyncClient(timeout=10) as client:
        try:
            return await client.get(f"http://127.0.0.1:{port}{path}")
        except httpx.ConnectError:
            return None


async def scraped(port: int) -> Samples:
    answer = await answered(port, "/metrics")
    assert answer is not None
    assert answer.status_code == 200
    return samples(answer.text)


async def test_an_instance_tells_its_metrics_and_whether_it_is_ready(
    processes: Processes, connection: asyncpg.Connection, sink: Sink
) -> None:
    metrics, health = free_ports(2)
    one = await processes.instance(metrics_port=metrics, health_port=health)
    await insert_job(connection, target={"url": sink.url("/hook")}, run_at=datetime.now(UTC))

    async def counted() -> bool:
        found = await scraped(metrics)
        return found.get(("tocsin_executions_total", ("http", "succeeded", ""))) == 1

    await until(counted, "the execution is counted", within=PATIENCE_SECONDS)
    found = await scraped(metrics)
    assert found["tocsin_execution_lateness_seconds_count", ("http",)] == 1
    assert found["tocsin_execution_duration_seconds_count", ("http",)] == 1
    assert found["tocsin_connected", ()] == 1
    assert found["tocsin_slots", ()] == 100
    assert found["tocsin_unsettled_results", ()] == 0
    assert found["process_open_fds", ()] > 0
    for path in ("/health/live", "/health/ready"):
        answer = await answered(health, path)
        assert answer is not None
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    for port, path in ((metrics, "/health/ready"), (health, "/metrics")):
        answer = await answered(port, path)
        assert answer is not None
        assert answer.status_code == 404
    assert await one.terminate() == 0


async def test_an_instance_that_stops_is_not_ready_until_it_has_drained(
    processes: Processes, connection: asyncpg.Connection, sink: Sink
) -> None:
    [port] = free_ports(1)
    one = await processes.instance(metrics_port=port, health_port=port)
    let_go = asyncio.Event()

    async def answer(wire: Wire, _: Received) -> None:
        await let_go.wait()
        await wire.write(reply(200))

    sink.default = answer
    await insert_job(connection, target={"url": sink.url("/hook")}, run_at=datetime.now(UTC))
    await sink.arrived()
    one.send(signal.SIGTERM)
    await one.says("draining")

    ready = await answered(port, "/health/ready")
    assert ready is not None
    assert (ready.status_code, "stopping" in ready.json()["status"]) == (503, True)
    assert (await scraped(port))["tocsin_slots_busy", ()] == 1

    let_go.set()
    assert await one.ended() == 0


async def test_an_instance_without_its_database_is_alive_but_not_ready(
    processes: Processes, connection: asyncpg.Connection, database_url: str
) -> None:
    [port] = free_ports(1)
    one = await processes.instance(metrics_port=port, health_port=port)
    name = await connection.fetchval("select current_database()")
    elsewhere = await asyncpg.connect(re.sub(r"/[^/]+$", "/postgres", database_url))
    await elsewhere.execute(f'alter database "{name}" allow_connections false')
    await elsewhere.execute(
        """select pg_terminate_backend(pid) from pg_stat_activity
        where datname = $1 and application_name like 'tocsin %'""",
        name,
    )
    await one.says("disconnected")

    live, ready = await answered(port, "/health/live"), await answered(port, "/health/ready")
    assert live is not None
    assert ready is not None
    assert (live.status_code, ready.status_code) == (200, 503)
    await elsewhere.execute(f'alter database "{name}" allow_connections true')
    await elsewhere.close()

    async def is_ready() -> bool:
        answer = await answered(port, "/health/ready")
        return answer is not None and answer.status_code == 200

    await until(is_ready, "the instance is ready again", within=PATIENCE_SECONDS)


async def test_each_of_several_processes_has_its_own_port(processes: Processes) -> None:
    port = next(port for port in free_ports(20) if port < 60_000)
    await processes.start("scheduler", "--processes", "2", metrics_port=port)

    async def both_answer() -> bool:
        answers = [await answered(port + number, "/metrics") for number in (0, 1)]
        return all(answer is not None and answer.status_code == 200 for answer in answers)

    await until(both_answer, "both ports answer", within=PATIENCE_SECONDS)


async def test_a_port_that_is_taken_is_told_with_its_setting(processes: Processes) -> None:
    [port] = free_ports(1)
    await processes.instance(health_port=port)
    second = await processes.start("scheduler", health_port=port)

    assert await second.ended() == 1
    assert "TOCSIN_HEALTH_PORT" in second.tail()
