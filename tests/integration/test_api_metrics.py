"""`GET /metrics` of the API: its requests, and what the whole database holds."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api import access, metrics
from app.db import instances, keys
from app.db.queries import query
from app.errors import AppError, DatabaseUnavailable
from app.telemetry.counts import Counts
from app.telemetry.exposition import Levels, instance_registry
from tests.support.api import LATER
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.scrape import Samples, samples
from tests.support.waiting import until

NO_LEVELS = Levels(
    slots=0,
    busy_slots=0,
    held_claims=0,
    unsettled_results=0,
    retention_seconds=86_400.0,
    notifications=0,
)


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the database read at each scrape."""
    monkeypatch.setattr(metrics, "CACHED_SECONDS", 0.0)


async def scraped(api: httpx.AsyncClient) -> Samples:
    answer = await api.get("/metrics")
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


async def test_a_scrape_tells_of_the_whole_database(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    now = datetime.now(UTC)
    await insert_job(connection, run_at=now - timedelta(minutes=1))
    await insert_job(connection, run_at=datetime(2100, 1, 1, tzinfo=UTC))
    await insert_job(connection, paused_at=now, run_at=now)
    for failures in (2, 3):
        await connection.execute(
            """update tocsin.jobs set consecutive_failures = $2, last_outcome = 'failed',
                next_run = now() + interval '1 h', scheduled_for = now() + interval '1 h',
                planned_at = now() where id = $1""",
            await insert_job(connection, every_seconds=3600),
            failures,
        )

    found = await scraped(api)

    assert found["tocsin_database_up", ()] == 1
    assert found["tocsin_all_jobs", ()] == 5
    assert found["tocsin_due_jobs", ()] == 1
    assert 60 <= found["tocsin_oldest_due_seconds", ()] < 600
    assert found["tocsin_jobs", ("paused",)] == 1
    assert found["tocsin_failing_jobs", ()] == 2
    assert found["tocsin_repeatedly_failing_jobs", ()] == 1
    assert found["tocsin_instances_connected", ()] == 0
    assert 0 <= found["tocsin_notify_queue_usage_ratio", ()] < 1
    assert found["tocsin_next_run_timestamp_seconds", ()] > now.timestamp()


async def test_nothing_planned_leaves_the_next_run_out(api: httpx.AsyncClient) -> None:
    found = await scraped(api)

    assert ("tocsin_next_run_timestamp_seconds", ()) not in found
    assert found["tocsin_oldest_due_seconds", ()] == 0


async def test_a_job_that_asks_has_metrics_of_its_own(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = {"metadata": {"metrics": True}, "every_seconds": 3600}
    fine = await insert_job(connection, name="fine", **asks)
    failing = await insert_job(connection, name="failing", **asks)
    new = await insert_job(connection, **asks)
    await insert_job(connection, name="other", every_seconds=3600, metadata={"metrics": "no"})
    await connection.execute(
        """update tocsin.jobs set last_outcome = 'succeeded', last_finished_at = '2100-01-02Z'
        where id = $1""",
        fine,
    )
    await connection.execute(
        """update tocsin.jobs set last_outcome = 'failed', last_finished_at = '2100-01-02Z',
            consecutive_failures = 2 where id = $1""",
        failing,
    )
    await connection.execute(
        """insert into tocsin.executions (
            job_id, kind, scheduled_for, outcome, started_at, finished_at, attempt, instance)
        select $1, 'http', at, outcome, at, at, 1, 'one' from (values
            ('2100-01-01 10:00Z'::timestamptz, 'succeeded'), ('2100-01-01 11:00Z', 'failed'),
            ('2100-01-01 12:00Z', 'failed')) as v (at, outcome)""",
        failing,
    )

    found = await scraped(api)

    name = "tocsin_job_last_success_timestamp_seconds"
    succeeded = {labels: value for (key, labels), value in found.items() if key == name}
    made = await connection.fetchval("select created_at from tocsin.jobs where id = $1", new)
    assert succeeded == {
        (str(fine), "fine"): datetime(2100, 1, 2, tzinfo=UTC).timestamp(),
        (str(failing), "failing"): datetime(2100, 1, 1, 10, tzinfo=UTC).timestamp(),
        (str(new), ""): pytest.approx(made.timestamp()),
    }
    assert found["tocsin_job_info", (str(fine), "fine", "http")] == 1
    assert found["tocsin_job_consecutive_failures", (str(failing), "failing")] == 2
    assert found["tocsin_jobs_without_metrics", ()] == 0

    monkeypatch.setattr(metrics, "MAX_JOBS", 2)
    found = await scraped(api)

    assert len([key for key, _ in found if key == name]) == 2
    assert found["tocsin_jobs_without_metrics", ()] == 1


@pytest.mark.parametrize(
    ("name", "indexes"),
    [
        ("levels.asking_jobs", {"jobs_metrics"}),
        ("levels.levels", {"jobs_metrics", "jobs_failing"}),
        ("levels.flows", {"jobs_flow_leases"}),
        ("levels.lateness", {"jobs_claimable", "jobs_unplanned"}),
    ],
)
async def test_a_scrape_reads_of_all_jobs_no_more_than_it_tells_of(
    connection: asyncpg.Connection, name: str, indexes: set[str]
) -> None:
    await connection.execute("set enable_seqscan = off")
    await connection.execute("set enable_bitmapscan = off")
    arguments = ", ".join("10" for _ in query(name).parameters)
    await connection.execute(f"prepare one as {query(name).sql}")
    rows = await connection.fetch(f"explain execute one{f'({arguments})' if arguments else ''}")
    plan = "\n".join(row[0] for row in rows)

    assert indexes <= set(re.findall(r"using (\w+)", plan)), plan
    assert re.findall(r"Seq Scan on jobs\b.*", plan) == [], plan


async def test_a_flow_with_a_key_of_its_own_tells_how_it_stands(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into tocsin.flows (flow_key, max_concurrency) values ('mail', 1), ('tenant-*', 1)"
    )
    await connection.execute(
        """insert into tocsin.flow_states (flow_key, held_until)
        values ('mail', now() + interval '1 h')
        on conflict (flow_key) do update set held_until = excluded.held_until"""
    )
    due = datetime.now(UTC) - timedelta(minutes=1)
    for key in ("mail", "mail", "tenant-1"):
        await insert_job(connection, run_at=due, flow_key=key)

    found = await scraped(api)

    assert found["tocsin_flow_waiting", ("mail",)] == 2
    assert found["tocsin_flow_active", ("mail",)] == 0
    assert 3500 < found["tocsin_flow_held_seconds", ("mail",)] <= 3600
    assert ("tocsin_flow_waiting", ("tenant-*",)) not in found


async def test_a_connected_instance_is_counted(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    async with instance():

        async def counted() -> bool:
            return (await scraped(api))["tocsin_instances_connected", ()] == 1

        await until(counted, "the instance is counted")


async def test_requests_are_counted_by_route_and_not_by_path(api: httpx.AsyncClient) -> None:
    job = (await api.post("/v1/jobs", json=LATER)).json()["id"]
    for path in (f"/v1/jobs/{job}", "/v1/jobs/no-such-job", "/no/such/route"):
        await api.get(path)
    await api.request("BREW", "/v1/jobs")
    await api.head("/v1/jobs")

    found = await scraped(api)

    name = "http_server_request_duration_seconds_count"
    counted = {labels: value for (key, labels), value in found.items() if key == name}
    assert counted["POST", "201", "/v1/jobs"] == 1
    assert counted["GET", "200", "/v1/jobs/{job}"] == 1
    assert counted["GET", "404", "/v1/jobs/{job}"] == 1
    assert counted["HEAD", "200", "/v1/jobs"] == 1
    assert counted["GET", "404", ""] == 1
    assert counted["_OTHER", "405", ""] == 1


async def test_a_scrape_needs_a_key_where_all_requests_do(
    api: httpx.AsyncClient,
) -> None:
    made = await api.post("/v1/keys", json={"name": "prometheus", "scopes": ["read"]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}

    async def refused() -> bool:
        return (await api.get("/metrics")).status_code == 401

    await until(refused, "the new key is asked for")
    assert (await api.get("/metrics", headers=headers)).status_code == 200


async def test_the_database_is_asked_once_in_a_while_however_many_scrape(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "CACHED_SECONDS", 3600.0)
    first = await scraped(api)
    await insert_job(connection)

    assert (await scraped(api))["tocsin_all_jobs", ()] == first["tocsin_all_jobs", ()] == 0


async def test_without_its_database_a_scrape_says_so_and_goes_on(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 - whatever it is called with
        raise AppError("no")

    await scraped(api)
    monkeypatch.setattr(instances, "read_stats", fail)

    found = await scraped(api)

    assert found["tocsin_database_up", ()] == 0
    assert ("tocsin_all_jobs", ()) not in found


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
async def test_while_keys_cannot_be_read_a_scrape_tells_of_the_outage_alone(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    async def away(*_: Any, **__: Any) -> None:  # noqa: ANN401 - whatever it is called with
        if hangs:
            try:
                await asyncio.Event().wait()
            finally:  # as a statement waits for a frozen Postgres to say that it is cancelled
                await asyncio.sleep(6)
        raise DatabaseUnavailable("no")

    await scraped(api)
    monkeypatch.setattr(keys, "read_valid", away)
    monkeypatch.setattr(access, "TRUSTED_SECONDS", -1.0)
    monkeypatch.setattr(metrics, "READ_SECONDS", 0.1)

    async with asyncio.timeout(4):
        found = await scraped(api)

    assert {name for name, _ in found} == {"tocsin_build_info", "tocsin_database_up"}
    assert found["tocsin_database_up", ()] == 0


async def test_the_page_of_metrics_lists_what_is_told(api: httpx.AsyncClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
    of_instance, of_api = page.partition("\n## Of the API\n")[::2]
    registry = instance_registry("1", Counts(), lambda: NO_LEVELS)
    told = {
        family.name
        for family in registry.collect()
        if family.name.startswith(("tocsin_", "http_client_"))
    }
    answer = await api.get("/metrics")
    told_by_api = {
        family.name
        for family in text_string_to_metric_families(answer.text)
        if not family.name.startswith("process_")
    } | {"tocsin_next_run_timestamp_seconds", "tocsin_oldest_partition_seconds"}

    assert set(re.findall(r"^\| `(\w+)` \|", of_instance, re.MULTILINE)) == told
    assert set(re.findall(r"^\| `(\w+)` \|", of_api, re.MULTILINE)) == told_by_api
