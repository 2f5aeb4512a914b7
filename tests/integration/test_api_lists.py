"""Lists of jobs: pages that stay put, filters, and what they cost."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from msgspec import json

from app.db import Database, jobs
from app.db.database import MAX_SEARCHED
from app.db.jobs import JobFilter
from app.db.queries import query
from tests.support.api import JOB, LATER, fields
from tests.support.builders import insert_job

FAR = datetime(2100, 1, 1, tzinfo=UTC)
STATES = {
    "scheduled": "",
    "executing": "locked_until = now() + interval '1 minute', locked_by = 'me', attempt = 1",
    "retrying": "attempt = 1",
    "paused": "paused_at = now()",
    "finished": "next_run = null, last_outcome = 'succeeded'",
    "failed": "next_run = null, last_outcome = 'timed_out'",
    "invalid": "plan_error = 'bad'",
}
ROWS = 20_000


async def names(api: httpx.AsyncClient, **filters: Any) -> list[str]:  # noqa: ANN401
    answer = await api.get("/v1/jobs", params=filters)
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["items"]]


async def test_newest_come_first_fifty_at_a_time(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for n in range(51):
        await insert_job(connection, name=f"job-{n}")

    first = (await api.get("/v1/jobs")).json()
    second = (await api.get("/v1/jobs", params={"cursor": first["next_cursor"]})).json()

    found = [job["name"] for job in first["items"] + second["items"]]
    assert found == [f"job-{n}" for n in reversed(range(51))]
    assert len(first["items"]) == 50
    assert second["next_cursor"] is None


async def test_pages_stay_put_while_jobs_come_and_go(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    ids = [await insert_job(connection, name=f"job-{n}") for n in range(6)]
    first = (await api.get("/v1/jobs", params={"limit": 2})).json()

    await insert_job(connection, name="newer")
    await connection.execute("delete from tocsin.jobs where id = $1", ids[4])  # the cursor's own
    await connection.execute("delete from tocsin.jobs where id = $1", ids[2])
    params = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await api.get("/v1/jobs", params=params)).json()

    assert [job["name"] for job in first["items"]] == ["job-5", "job-4"]
    assert [job["name"] for job in second["items"]] == ["job-3", "job-1"]


async def test_a_cursor_goes_on_within_the_filter(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for n in range(6):
        await insert_job(connection, name=f"job-{n}", tags=["even"] if n % 2 == 0 else ["odd"])

    first = (await api.get("/v1/jobs", params={"limit": 2, "tag": "even"})).json()
    params = {"limit": 2, "tag": "even", "cursor": first["next_cursor"]}

    assert await names(api, **params) == ["job-0"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"tag": "red"}, {"alpha", "beta"}),
        ({"tag": "red,big"}, {"alpha"}),
        ({"tag": ["red", "big"]}, {"alpha"}),
        ({"tag": "red,blue"}, set()),
        ({"tag": ""}, {"alpha", "beta", "al_ha", "100%"}),
        ({"kind": "amqp"}, {"beta"}),
        ({"kind": "fax"}, set()),
        ({"name": "al"}, {"alpha", "al_ha"}),
        ({"name": "al_"}, {"al_ha"}),
        ({"name": "lpha"}, set()),
        ({"name": "Al"}, set()),
        ({"q": "PHA"}, {"alpha", "al_ha"}),
        ({"q": "%"}, {"100%"}),
        ({"q": "_"}, {"al_ha"}),
        ({"q": "\\"}, {"100%"}),
        ({"name": "al", "tag": "red", "kind": "http", "q": "a", "state": "scheduled"}, {"alpha"}),
    ],
)
async def test_filters_find_what_they_say(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    filters: dict[str, Any],
    found: set[str],
) -> None:
    await insert_job(connection, name="alpha", tags=["red", "big"], run_at=FAR)
    amqp = {"kind": "amqp", "target": {"url": "amqp://x", "routing_key": "q"}}
    await insert_job(connection, name="beta", tags=["red"], **amqp)
    await insert_job(connection, name="al_ha", description="not alPHA", run_at=FAR)
    await insert_job(connection, name="100%", description="back\\slash", run_at=FAR)

    assert set(await names(api, **filters)) == found


@pytest.mark.parametrize("state", STATES)
async def test_every_state_is_found_and_only_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection, state: str
) -> None:
    for name, how in STATES.items():
        job_id = await insert_job(connection, name=name, run_at=FAR)
        await connection.execute(
            f"update tocsin.jobs set {how + ', ' if how else ''} planned_at = clock_timestamp() "
            "where id = $1",
            job_id,
        )

    assert await names(api, state=state) == [state]
    assert (await api.get(f"/v1/jobs/{state}")).json()["state"] == state


async def test_a_lease_that_ran_out_is_no_execution(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="lost")
    await connection.execute(
        "update tocsin.jobs set locked_until = now() - interval '1 second', attempt = 1"
    )

    assert await names(api, state="executing") == []
    assert await names(api, state="retrying") == ["lost"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("filters", "field", "remedy"),
    [
        ({"limit": 0}, "limit", ">= 1"),
        ({"limit": 201}, "limit", "<= 200"),
        ({"limit": "many"}, "limit", "must be an integer"),
        ({"cursor": "nonsense"}, "cursor", "next_cursor"),
        ({"cursor": "ä"}, "cursor", "next_cursor"),
        ({"cursor": "ZQAAAAAAAAAB"}, "cursor", "next_cursor"),
        ({"state": "sleeping"}, "state", "write one of scheduled, executing"),
        ({"tags": "red"}, "tags", "did you mean tag?"),
        ({"offset": 5}, "offset", "unknown parameter"),
        ({"q": "a\0b"}, "q", "U+0000"),
    ],
)
async def test_a_parameter_that_cannot_be_meant_is_refused(
    module_api: httpx.AsyncClient, filters: dict[str, Any], field: str, remedy: str
) -> None:
    answer = await module_api.get("/v1/jobs", params=filters)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]
    assert remedy in answer.json()["errors"][0]["message"]


async def test_a_page_of_a_list_has_whole_jobs(api: httpx.AsyncClient) -> None:
    job = (await api.post("/v1/jobs", json=LATER | {"name": "one"})).json()

    assert (await api.get("/v1/jobs")).json()["items"] == [job]


async def filled(connection: asyncpg.Connection) -> None:
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute(
        """insert into tocsin.jobs (name, kind, target, tags, run_at, next_run, scheduled_for,
                                    planned_at, plan_error, locked_until)
           select 'job-' || n, 'http', '{"url": "x"}',
               array['all'] || case when n % 5000 = 0 then array['rare'] else '{}' end,
               now(), now(), now(), now(),
               case when n % 5000 = 1 then 'bad' end,
               case when n % 5000 = 2 then now() + interval '1 hour' end
           from generate_series(1, $1) n""",
        ROWS,
    )
    await connection.execute("alter table tocsin.jobs enable trigger all")
    await connection.execute("vacuum analyze tocsin.jobs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(module_connection: asyncpg.Connection) -> asyncpg.Connection:
    """Give a connection to such a database, for tests that change nothing in it."""
    await filled(module_connection)
    return module_connection


def rows_read(plan: dict[str, Any]) -> int:
    """Count the rows that all scans of a plan touched."""
    own = 0
    if "Scan" in plan["Node Type"] and plan["Node Type"] != "Subquery Scan":
        removed = plan.get("Rows Removed by Filter", 0) + plan.get(
            "Rows Removed by Index Recheck", 0
        )
        own = int(plan["Actual Rows"] + removed) * int(plan["Actual Loops"])
    return own + sum(rows_read(child) for child in plan.get("Plans", []))


async def explained(
    connection: asyncpg.Connection,
    name: str,
    **given: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Return the plan of a query as it was carried out."""
    wanted = query(name)
    arguments = wanted.arguments(dict.fromkeys(wanted.parameters) | given)
    text = await connection.fetchval(f"explain (analyze, format json) {wanted.sql}", *arguments)
    plan: dict[str, Any] = json.decode(text)[0]["Plan"]
    return plan


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("filters", "most"),
    [
        ({}, 100),
        ({"tags": ["all"]}, 100),
        ({"tags": ["rare"]}, 100),
        ({"state": "invalid"}, 100),
        ({"state": "executing"}, 100),
        ({"state": "failed"}, 100),
        ({"state": "retrying"}, 100),
        ({"state": "paused"}, 100),
        ({"state": "scheduled"}, 100),
        ({"failing": True}, 100),
        ({"failing": True, "tags": ["all"]}, 100),
        ({"kind": "http", "text_pattern": "%job%"}, 100),
    ],
    ids=str,
)
async def test_a_page_reads_about_as_many_rows_as_it_has(
    full: asyncpg.Connection, filters: dict[str, Any], most: int
) -> None:
    window = MAX_SEARCHED if filters.keys() & {"state", "kind", "text_pattern"} else 51

    plan = await explained(full, "jobs.page", limit=51, window=window, **filters)

    assert rows_read(plan) <= most


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("prefix", "most"), [("job-1999", 200), ("job-", 100), ("nobody", 0)])
async def test_a_page_of_names_reads_about_as_many_rows_as_it_has(
    full: asyncpg.Connection, prefix: str, most: int
) -> None:
    pattern = f"{prefix}%"
    found = await explained(full, "jobs.named", name_pattern=pattern, most=100)
    rows = await full.fetch("select id from tocsin.jobs where name like $1 limit 100", pattern)
    named = [row["id"] for row in rows] if len(rows) < 100 else None

    plan = await explained(
        full, "jobs.page", limit=51, window=MAX_SEARCHED, named=named, name_pattern=pattern
    )

    assert rows_read(found) <= 100
    assert rows_read(plan) <= most


async def test_a_prefix_that_no_recent_job_has_is_searched_by_parts(
    connection: asyncpg.Connection, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MANY_AT_ONCE", 10)
    monkeypatch.setattr(jobs, "MAX_SEARCHED", 200)
    await filled(connection)
    old = JobFilter(name_prefix="job-1")
    ids: list[UUID] = []
    before: UUID | None = None
    pages = 0
    await connection.execute("update tocsin.jobs set name = 'old' || name where name < 'job-15'")
    await connection.execute("vacuum analyze tocsin.jobs")
    while True:
        page = await jobs.list_page(db, old, before=before, limit=500)
        ids += [one.id for one in page.items]
        pages += 1
        if not page.more:
            break
        before = page.reached or page.items[-1].id

    expected = await connection.fetch(
        "select id from tocsin.jobs where name like 'job-1%' order by id desc"
    )
    assert ids == [row["id"] for row in expected]
    assert pages > 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "filters",
    [
        {"kind": "fax"},
        {"text_pattern": "%nowhere%"},
        {"state": "finished"},
        {"last_outcomes": ["lost"]},
        {"failing": False, "kind": "fax"},
        {"tags": ["all"], "failing": False, "kind": "fax"},
        {"state": "scheduled", "kind": "fax"},
    ],
    ids=str,
)
async def test_a_page_that_finds_nothing_reads_no_more_than_is_said(
    full: asyncpg.Connection, filters: dict[str, Any]
) -> None:
    plan = await explained(full, "jobs.page", limit=51, window=1000, **filters)
    narrow = {name: filters[name] for name in ("tags", "state") if name in filters}
    end = await explained(full, "jobs.page_end", window=1000, **narrow)

    assert rows_read(plan) <= 1001
    assert rows_read(end) <= 1001


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "filters", [{}, {"kind": "fax"}, {"failing": True}, {"tags": ["rare"]}], ids=str
)
async def test_a_page_by_next_run_reads_no_more_than_its_place_in_the_order(
    full: asyncpg.Connection, filters: dict[str, Any]
) -> None:
    start = await full.fetchval("select min(next_run) from tocsin.jobs")
    [second, millisecond] = [timedelta(seconds=1), timedelta(milliseconds=1)]

    place = await explained(full, "jobs.next_run_place", since=start, window=500)
    crowd = await explained(
        full,
        "jobs.page_by_next_run",
        since=start,
        until=start + second,
        after=UUID(int=0),
        most=700,
        limit=51,
        **filters,
    )
    nobody = await explained(
        full,
        "jobs.page_by_next_run",
        since=start - second,
        until=start - millisecond,
        after=UUID(int=0),
        most=700,
        limit=51,
        **filters,
    )

    assert rows_read(place) <= 501
    assert rows_read(crowd) <= 752
    assert rows_read(nobody) == 0


@pytest.mark.parametrize(
    ("state", "most"),
    [
        ("paused", 51),
        ("finished", 51),
        ("failed", 51),
        ("executing", 400),
        ("invalid", 400),
        ("retrying", 600),
    ],
)
async def test_a_page_of_a_state_reads_no_job_of_another(
    connection: asyncpg.Connection, state: str, most: int
) -> None:
    await connection.execute("alter table tocsin.jobs disable trigger all")
    for name, how in STATES.items():
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at, next_run, planned_at, description)
               select 'http', '{"url": "x"}', now(), now(), now(), $1
               from generate_series(1, 200)""",
            name,
        )
        if how:
            await connection.execute(f"update tocsin.jobs set {how} where description = $1", name)
    await connection.execute("alter table tocsin.jobs enable trigger all")
    await filled(connection)

    plan = await explained(connection, "jobs.page", limit=51, window=MAX_SEARCHED, state=state)

    assert plan["Actual Rows"] == 51
    assert rows_read(plan) <= most


async def test_a_page_of_executing_jobs_reads_no_run_that_waits(
    connection: asyncpg.Connection,
) -> None:
    await filled(connection)
    await connection.execute(
        """select tocsin.run_now(id)
           from (select id from tocsin.jobs order by id limit 500) as oldest"""
    )
    await connection.execute("vacuum analyze tocsin.jobs")

    plan = await explained(
        connection, "jobs.page", limit=51, window=MAX_SEARCHED, state="executing"
    )

    assert rows_read(plan) <= 100


async def test_pages_are_in_the_order_of_ids(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for n in range(5):
        await api.post("/v1/jobs", json=JOB | {"run_at": "2100-01-01T00:00:00Z", "name": f"a{n}"})
        await insert_job(connection, name=f"b{n}")

    ids = [job["id"] for job in (await api.get("/v1/jobs")).json()["items"]]

    assert all(one > other for one, other in pairwise(ids))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/v1/executions?from=null", "from"),
        ("/v1/executions?to=NULL", "to"),
        ("/v1/audit?entity_id=null", "entity_id"),
        ("/v1/jobs?state=null", "state"),
        ("/v1/jobs?name=a&name=b", "name"),
        ("/v1/jobs?limit=1&limit=2", "limit"),
    ],
)
async def test_no_filter_is_overlooked(
    module_api: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await module_api.get(query)

    assert (answer.status_code, fields(answer)) == (422, [field])


async def test_a_word_may_be_null_and_a_list_repeated(api: httpx.AsyncClient) -> None:
    assert (await api.get("/v1/jobs?name=null&q=null&tag=a&tag=null")).status_code == 200
