"""Each alert that is shipped fires when what it watches breaks in a running system.

One system and one Prometheus, whose rules need seconds instead of minutes. What is told of the
database is ten seconds old at most, so things that do not hide each other break together.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
import yaml
from msgspec import json

from app.devdb.cluster import Cluster
from app.devdb.places import embedded_programs, reachable_programs
from tests.support.builders import insert_job
from tests.support.cluster import Process, Processes
from tests.support.pages import ROOT
from tests.support.postgres import PORTS, SCHEMA, TEST_SETTINGS, throwaway_directory
from tests.support.prometheus_server import WINDOW, Prometheus, running_prometheus
from tests.support.psql import run_psql
from tests.support.rabbit import free_ports
from tests.support.sink import Received, Sink, Wire, hang, reply

QUEUE_PAGES = 64
"""So small a queue of notifications is soon a quarter full."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Give a Postgres that may be stopped, with a small queue of notifications."""
    with throwaway_directory() as home:
        cluster = Cluster(bin=reachable_programs(embedded_programs()), home=home)
        cluster.create(TEST_SETTINGS | {"max_notify_queue_pages": str(QUEUE_PAGES)})
        cluster.start(PORTS[-1])
        run_psql(cluster.server().url, "", files=SCHEMA)
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


class System:
    """The API and one instance, scraped by a Prometheus."""

    def __init__(
        self, url: str, processes: Processes, ports: list[int], prometheus: Prometheus, sink: Sink
    ) -> None:
        self.url = url
        self.processes = processes
        self.ports = ports
        self.prometheus = prometheus
        self.sink = sink
        self.api: Process
        self.instance: Process

    async def start_instance(self) -> None:
        self.instance = await self.processes.instance(metrics_port=self.ports[1])


@asynccontextmanager
async def standing(url: str, sink: Sink, home: Path) -> AsyncIterator[System]:
    """Start everything."""
    ports = free_ports(3)
    settings = {"allow_private_targets": "true", "retention_days": 1, "lease_seconds": 3}
    processes = Processes(database_url=url, port=ports[0], longest_sleep_seconds=1, **settings)
    targets = {"tocsin-api": ports[0], "tocsin-instances": ports[1]}
    async with (
        processes.running(),
        running_prometheus(home, port=ports[2], targets=targets) as prometheus,
    ):
        system = System(url, processes, ports, prometheus, sink)
        await prometheus.fires("TocsinAbsent")
        prometheus.fired.clear()
        system.api = await processes.start("api")
        await system.start_instance()
        await prometheus.scrapes(2)
        yield system


@pytest.mark.timeout(240)  # fifteen alerts, each a few seconds
async def test_each_alert_fires_when_what_it_watches_breaks(
    cluster: Cluster, sink: Sink, tmp_path: Path
) -> None:
    url = cluster.server().url
    connection = await asyncpg.connect(url)
    async with standing(url, sink, tmp_path) as system:
        await all_is_well(system, connection)
        await what_is_told_of_jobs(system, connection)
        await sessions_are_lost(system, connection)
        await results_are_not_taken(system, connection)
        await an_instance_dies(system, connection)
        await nothing_is_planned(system, connection)
        await connection.close()
        await the_database_is_down(system, cluster)
    shipped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text("utf-8"))
    [group] = shipped["groups"]
    assert {rule["alert"] for rule in group["rules"]} == system.prometheus.fired | {"TocsinAbsent"}


async def all_is_well(system: System, connection: asyncpg.Connection) -> None:
    """No alert fires while jobs run, and the dashboard's panels show them."""
    prometheus = system.prometheus
    target = {"url": system.sink.url("/fine")}
    await insert_job(connection, name="fine", every_seconds=0.5, target=target)
    for path in ("/v1/jobs", "/v1/instances"):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{system.ports[0]}") as client:
            assert (await client.get(path)).status_code == 200
    await system.sink.arrived(4)
    # The database is told of anew, ten seconds after the first scrape.
    await shows(prometheus, "max(tocsin_next_run_timestamp_seconds) > 0")
    async with asyncio.timeout(20):
        while await prometheus.firing() - {"TocsinLate"}:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
    for title, expression in dashboard_queries():
        found = await prometheus.query(expression)
        assert found or "lost" in expression or '!="succeeded"' in expression, title
    prometheus.fired.clear()


async def shows(prometheus: Prometheus, expression: str) -> None:
    async with asyncio.timeout(20):
        while not await prometheus.query(expression):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Yield the queries of the dashboard on Prometheus with the titles of their panels."""
    dashboard = json.decode((ROOT / "deploy" / "grafana" / "prometheus.json").read_bytes())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", WINDOW)
            yield panel["title"], re.sub(r"\[\d+m\]", f"[{WINDOW}]", expression)


async def what_is_told_of_jobs(system: System, connection: asyncpg.Connection) -> None:
    """Jobs fail, are invalid, late or missed; the queue fills; days are kept."""
    sink, now = system.sink, datetime.now(UTC)
    failing = {"url": sink.on("/failing", reply(500))}
    await insert_job(connection, every_seconds=0.5, target=failing, max_attempts=1)
    await insert_job(connection, target={"url": "no URL"})
    missed = {"misfire": "skip", "misfire_grace_seconds": 1}
    await insert_job(connection, run_at=now - timedelta(hours=1), **missed)
    late = {"run_at": now - timedelta(seconds=10), "target": {"url": sink.url("/late")}}
    for _ in range(40):
        await insert_job(connection, **late)
    await connection.execute("select tocsin.add_partition(current_date - 6)")
    listener = await asyncpg.connect(system.url)
    try:
        await listener.execute("listen somewhere")
        await listener.execute("begin")
        await listener.execute("select 1")
        for number in range(QUEUE_PAGES // 2):
            await connection.execute("select pg_notify('elsewhere', $1)", f"{number:07000}")
        await system.prometheus.fires(
            *("TocsinJobsFailing", "TocsinManyFailures", "TocsinJobsInvalid", "TocsinRunsMissed"),
            *("TocsinLate", "TocsinNotifyQueueFills", "TocsinRetentionStuck"),
        )
    finally:
        await listener.close()


async def sessions_are_lost(system: System, connection: asyncpg.Connection) -> None:
    """The instance has to connect again and again."""
    for count in range(2, 8):
        await connection.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
            where application_name like 'tocsin scheduler %'"""
        )
        await system.instance.says("connected", count=count)
    await system.prometheus.fires("TocsinReconnects")


async def results_are_not_taken(system: System, connection: asyncpg.Connection) -> None:
    """Postgres takes no results while somebody has the table of jobs locked."""
    held = asyncio.Event()

    async def answer(wire: Wire, _: Received) -> None:
        await held.wait()
        await wire.write(reply(200))

    target = {"url": system.sink.on("/held", answer)}
    await insert_job(connection, run_at=datetime.now(UTC), target=target)
    await system.sink.until(lambda: any(one.path == "/held" for one in system.sink.requests))
    async with connection.transaction():
        await connection.execute("lock table tocsin.jobs in share mode")
        held.set()
        await system.prometheus.fires("TocsinResultsUnsettled")


async def an_instance_dies(system: System, connection: asyncpg.Connection) -> None:
    """The only instance is killed while it executes; later another takes its job over."""
    target = {"url": system.sink.on("/hangs", hang, reply(200))}
    await insert_job(connection, run_at=datetime.now(UTC), target=target)
    await system.sink.until(lambda: any(one.path == "/hangs" for one in system.sink.requests))
    await system.instance.kill()
    await insert_job(connection, run_at=datetime.now(UTC) - timedelta(minutes=2))
    await system.prometheus.fires("TocsinNoInstance", "TocsinJobsOverdue")
    await system.start_instance()
    await system.prometheus.fires("TocsinLeasesLost")


async def nothing_is_planned(system: System, connection: asyncpg.Connection) -> None:
    """There is no job any more."""
    await connection.execute("delete from tocsin.jobs")
    await system.prometheus.fires("TocsinNothingPlanned")


async def the_database_is_down(system: System, cluster: Cluster) -> None:
    """Nobody reaches Postgres."""
    await asyncio.to_thread(cluster.stop, "immediate")
    await system.prometheus.fires("TocsinDatabaseDown")
