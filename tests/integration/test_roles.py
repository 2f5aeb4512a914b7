"""The roles of db/roles.sql do all that they are for, each as a login that is its member."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from app.core.facts import Settled
from app.db import roles
from tests.support.api import NIGHTLY
from tests.support.history import begin_day, name_of
from tests.support.instances import StartInstance
from tests.support.roles import as_role
from tests.support.sink import Sink


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    session = await asyncpg.connect(as_role("writer", database_url))
    yield session
    await session.close()


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    session = await asyncpg.connect(as_role("reader", database_url))
    yield session
    await session.close()


async def test_the_role_of_the_api_tells_metrics_of_the_whole_database(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute("select tocsin.http_job('x', 'https://h/')")

    answer = await api.get("/metrics")

    assert "tocsin_all_jobs 1" in answer.text


CALLS: list[tuple[str, str, Any, int]] = [
    ("PUT", "flows/tenant", {"max_concurrency": 3}, 201),
    ("POST", "flows/tenant/release", None, 200),
    ("PUT", "calendars/work", {"weekly": ["*"]}, 201),
    ("PUT", "jobs/a", NIGHTLY | {"tags": ["x"], "flow_key": "tenant", "calendars": ["work"]}, 201),
    ("POST", "jobs/batch", [NIGHTLY | {"name": "b"}], 201),
    ("PATCH", "jobs/a", {"priority": 2}, 200),
    ("POST", "jobs/a/pause", {"reason": "moved"}, 200),
    ("POST", "jobs/a/resume", {"missed": "once"}, 200),
    ("POST", "jobs/a/skip", {"runs": 2}, 200),
    ("POST", "jobs/a/unskip", None, 200),
    ("POST", "jobs/b/run", None, 202),
    ("GET", "jobs/b/explain", None, 200),
    ("POST", "pauses", {"tag": "x"}, 200),
    ("POST", "pauses", {"all": True}, 200),
    ("GET", "pauses", None, 200),
    ("PUT", "jobs/c", {"kind": "check", "target": {}, "every_seconds": 60}, 201),
    ("POST", "checks/c/token", None, 201),
    ("GET", "checks/c", None, 200),
    ("PUT", "alerts/channels/ops", {"target": {"url": "https://example.com/"}}, 201),
    ("PUT", "alerts/rules/all", {"events": ["failed"], "channels": ["ops"]}, 201),
    ("GET", "alerts", None, 200),
    ("POST", "bulk", {"action": "pause", "filter": {"tag": "x"}}, 202),
    ("GET", "upcoming", None, 200),
    ("GET", "instances", None, 200),
    ("GET", "stats", None, 200),
    ("GET", "audit", None, 200),
    ("DELETE", "jobs/a", None, 204),
    ("DELETE", "flows/tenant", None, 204),
    ("DELETE", "calendars/work", None, 204),
    ("DELETE", "alerts/rules/all", None, 204),
]


async def test_the_role_of_the_api_lacks_nothing_for_any_call(api: httpx.AsyncClient) -> None:
    wrong = []
    for n, (method, path, body, status) in enumerate(CALLS):
        headers = (
            {"Idempotency-Key": f"call-{n}"} if method == "POST" and "token" not in path else {}
        )
        answer = await api.request(method, f"/v1/{path}", json=body, headers=headers)
        if answer.status_code != status:
            wrong.append((method, path, answer.status_code, answer.text[:300]))

    assert wrong == []


async def test_an_instance_and_a_writer_work_across_a_change_of_day(
    connection: asyncpg.Connection, writer: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    today = name_of(await begin_day(connection))
    await connection.execute(f"drop table tocsin.{today}")

    async with instance() as (_, facts):
        await writer.execute(
            "select tocsin.http_job('x', $1, flow_key => 'f', tags => '{a}')", sink.url("/one")
        )
        await facts.seen(Settled)
        await writer.execute("select tocsin.run_job('x')")
        await sink.arrived(2)

    assert await connection.fetchval("select count(*) from tocsin.executions") >= 1


async def test_a_writer_acts_on_jobs_and_reads_no_target_and_no_history(
    connection: asyncpg.Connection, writer: asyncpg.Connection
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    async with writer.transaction():
        await writer.execute("create temporary table orders (id integer)")
        id = await writer.fetchval(
            "select tocsin.http_job('x', 'https://h/', run_at => $1, tags => '{a}')", later
        )
    await writer.execute("select tocsin.http_job('x', 'https://h/2', cron => '0 3 * * *')")
    for call in ("pause_job('x')", "resume_job('x')", "skip_next('x')", "run_job('x')"):
        assert await writer.fetchval(f"select tocsin.{call}") == id
    await writer.execute(
        "update tocsin.jobs set max_attempts = 3, cron = '0 4 * * *' where name = 'x'"
    )
    assert await writer.fetchval("select count(*) from tocsin.upcoming(interval '2 days')") >= 0
    assert await writer.fetchval("select count(*) from tocsin.due()") >= 0
    assert await writer.fetchval("select reason from tocsin.explain_job('x') limit 1")
    asked = await writer.fetchval("select tocsin.backfill_job('x', '2030-02-01Z', '2030-02-08Z')")
    assert await connection.fetchval("select id from tocsin.bulk_actions") == asked
    for refused in (
        "select target from tocsin.jobs",
        "select * from tocsin.jobs",
        "select * from tocsin.executions",
        "select * from tocsin.secrets",
        "select * from tocsin.audit_log",
        "select * from tocsin.api_keys",
        "update tocsin.jobs set next_run = now()",
        "insert into tocsin.pauses (tag) values ('x')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute(refused)
    assert await connection.fetchval("select created_as from tocsin.jobs where name = 'x'") in (
        "test_writer",
        None,
    )

    await writer.execute("delete from tocsin.jobs where name = 'x'")
    assert await connection.fetchval("select count(*) from tocsin.jobs where name = 'x'") == 0


async def test_a_reader_sees_history_and_no_target(
    connection: asyncpg.Connection, reader: asyncpg.Connection
) -> None:
    await connection.execute("select tocsin.http_job('x', 'https://h/')")

    assert await reader.fetchval("select due from tocsin.overview") == 1
    for view in ("upcoming", "recent_executions", "failing_jobs", "dead_letters", "executions"):
        await reader.fetch(f"select * from tocsin.{view}")
    assert await reader.fetchval("select name from tocsin.jobs") == "x"
    assert await reader.fetchval("select count(*) from tocsin.explain_job('x')") > 0
    for refused in (
        "select target from tocsin.jobs",
        "select tocsin.run_job('x')",
        "delete from tocsin.jobs",
        "select * from tocsin.alert_channels",
        "select * from tocsin.secrets",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(refused)


async def test_roles_are_made_again_without_harm(database_url: str) -> None:
    assert await roles.make(database_url) == []
