"""Spans of runs and attempts, as processes send them to a collector."""

import re
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aio_pika
import asyncpg
import httpx
import pytest

from app.telemetry.tracing import Named, span_of_header
from tests.support.builders import insert_job
from tests.support.cluster import Processes
from tests.support.collector import PATH, Span, spans
from tests.support.pages import ROOT
from tests.support.rabbit import free_ports
from tests.support.sink import Sink, hang, reply
from tests.support.waiting import until

PAGE = (ROOT / "docs" / "traces.md").read_text("utf-8")
MAKER = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
HEADER = f"00-{MAKER[0]}-{MAKER[1]}-01"
PATIENCE_SECONDS = 30.0


@pytest.fixture
async def collector() -> AsyncIterator[Sink]:
    async with Sink().listening() as sink:
        yield sink


@pytest.fixture
def traced(collector: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes send traces to the collector, soon after each attempt."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""))
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


async def sent(collector: Sink, count: int) -> list[Span]:
    async def came() -> bool:
        return len(spans(collector)) >= count

    await until(came, f"{count} spans", within=PATIENCE_SECONDS)
    return spans(collector)


@pytest.mark.usefixtures("traced")
async def test_a_run_is_a_span_with_its_attempts_and_links_to_who_made_the_job(
    database_url: str, connection: asyncpg.Connection, sink: Sink, collector: Sink, amqp_url: str
) -> None:
    [port] = free_ports(1)
    processes = Processes(
        in_roles=True, database_url=database_url, allow_private_targets="true", port=port
    )
    hook = sink.on("/hook?key=s3cr3t", reply(503), reply(200))
    async with processes.running(), await aio_pika.connect(amqp_url) as broker:
        queue = await (await broker.channel()).declare_queue(exclusive=True)
        api = await processes.start("api")
        instance = await processes.instance()
        await api.says("serving")
        job = {"kind": "http", "target": {"url": hook}, "backoff_seconds": 0.1}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.post(
                "/v1/jobs",
                json=job | {"name": "report", "run_in_seconds": 0},
                headers={"traceparent": HEADER},
            )
        assert answer.status_code == 201, answer.text
        assert answer.json()["metadata"] == {"traceparent": HEADER}

        run, *attempts = sorted(await sent(collector, 3), key=lambda span: span.name != "run http")
        assert [run.name, *(span.name for span in attempts)] == ["run http", *["attempt http"] * 2]
        first, second = attempts
        received = [request.headers["traceparent"] for request in await sink.arrived(2)]
        assert received == [first.traceparent, second.traceparent]
        assert {span.trace_id for span in attempts} == {run.trace_id}
        assert [run.parent_id, first.parent_id, second.parent_id] == ["", *[run.span_id] * 2]
        assert (run.links, first.links) == ([MAKER], [MAKER])
        assert second.links == [MAKER, (first.trace_id, first.span_id)]
        assert (run.kind, first.kind, run.service) == ("INTERNAL", "CLIENT", "tocsin")
        assert [span.is_error for span in (run, first, second)] == [False, True, False]
        assert (run.start, run.end) == (first.start, second.end)
        assert run.attributes["tocsin.job.id"] == answer.json()["id"]
        assert run.attributes["tocsin.job.name"] == "report"
        assert first.attributes["http.response.status_code"] == 503
        assert first.attributes["error.type"] == "status"
        assert second.attributes["http.request.resend_count"] == 1
        assert "s3cr3t" not in str([run, first, second])

        [in_sql] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
        await connection.execute(in_sql)
        noted = await connection.fetchval(
            "select metadata ->> 'traceparent' from tocsin.jobs order by id desc limit 1"
        )
        assert span_of_header(noted) == Named(int(MAKER[0], 16), int(MAKER[1], 16))

        await insert_job(
            connection,
            kind="amqp",
            target={"url": amqp_url, "exchange": "", "routing_key": queue.name, "body": "x"},
            metadata={"traceparent": "no such header"},
            run_at=datetime.now(UTC),
        )
        published, over = sorted((await sent(collector, 5))[3:], key=lambda span: span.name)
        message = await queue.get(timeout=PATIENCE_SECONDS, no_ack=True)
        assert message.headers["traceparent"] == published.traceparent
        assert (published.name, published.kind) == ("attempt amqp", "PRODUCER")
        assert published.attributes["messaging.system"] == "rabbitmq"
        assert (published.parent_id, over.name) == (over.span_id, "run amqp")
        assert (published.links, over.links) == ([], [])
        assert over.trace_id != run.trace_id
        assert await instance.terminate() == 0


@pytest.mark.usefixtures("traced")
async def test_what_is_left_is_sent_at_the_end_and_a_collector_that_hangs_holds_nobody_up(
    database_url: str,
    connection: asyncpg.Connection,
    sink: Sink,
    collector: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    processes = Processes(in_roles=True, database_url=database_url, allow_private_targets="true")
    async with processes.running():
        one = await processes.instance()
        await insert_job(connection, target={"url": sink.url("/a")}, run_at=datetime.now(UTC))
        await sink.arrived()
        assert await one.terminate() == 0
        assert sorted(span.name for span in spans(collector)) == ["attempt http", "run http"]

        collector.on(PATH, hang)
        two = await processes.instance()
        await insert_job(connection, target={"url": sink.url("/b")}, run_at=datetime.now(UTC))
        await sink.arrived(2)
        assert await two.terminate() == 0


async def test_an_instance_without_traces_loads_nothing_of_opentelemetry() -> None:
    code = "import sys, app.cli.instance, app.cli.serve; print(*sys.modules)"
    process = await create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    loaded, _ = await process.communicate()

    modules = {name.partition(".")[0] for name in loaded.decode().split()}
    assert "asyncpg" in modules
    assert modules & {"opentelemetry", "google", "requests"} == set()
