"""What people look for in history: whose, where, why, how late and how slow."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from msgspec import json

from app.db import executions
from app.db.queries import query
from tests.support.builders import insert_job

PAST = datetime(2026, 1, 1, 3, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = 20_000


async def recorded(
    connection: asyncpg.Connection,
    job_id: UUID,
    *,
    lag: float = 0.0,
    took: float = 1.0,
    **columns: Any,  # noqa: ANN401
) -> int:
    started = PAST + timedelta(seconds=lag)
    columns = {
        "job_id": job_id,
        "kind": "http",
        "scheduled_for": PAST,
        "attempt": 1,
        "outcome": "succeeded",
        "started_at": started,
        "finished_at": started + timedelta(seconds=took),
    } | columns
    names, places = ", ".join(columns), ", ".join(f"${n + 1}" for n in range(len(columns)))
    id: int = await connection.fetchval(
        f"insert into tocsin.executions ({names}) values ({places}) returning id",
        *columns.values(),
    )
    return id


async def found(
    api: httpx.AsyncClient,
    address: str = "/v1/executions",
    **filters: Any,  # noqa: ANN401
) -> list[int]:
    """Read all pages."""
    ids: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api.get(address, params=filters | cursor)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        ids += [execution["id"] for execution in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}


async def test_an_execution_has_the_name_and_tags_that_its_job_has_now(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="old", tags=["red", "big"], run_at=FAR)
    id = await recorded(connection, job_id)
    await api.patch("/v1/jobs/old", json={"name": "new"})

    one = (await api.get(f"/v1/executions/{id}")).json()

    assert (one["job_name"], one["tags"]) == ("new", ["red", "big"])
    assert (await api.get("/v1/executions")).json()["items"] == [one]
    assert (await api.get("/v1/jobs/new/executions")).json()["items"] == [one]

    await api.delete("/v1/jobs/new")
    gone = (await api.get(f"/v1/executions/{id}")).json()
    assert (gone["job_name"], gone["tags"]) == (None, [])


async def test_executions_are_found_by_their_job_and_its_tags(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    red = await insert_job(connection, name="red", tags=["red", "big"], run_at=FAR)
    blue = await insert_job(connection, name="blue", tags=["blue", "big"], run_at=FAR)
    of_red, of_blue = await recorded(connection, red), await recorded(connection, blue)
    of_nobody = await recorded(connection, gone := uuid4())

    assert await found(api, job="red") == [of_red]
    assert await found(api, job=str(blue)) == [of_blue]
    assert await found(api, job=str(gone)) == [of_nobody]
    assert await found(api, tag="big") == [of_blue, of_red]
    assert await found(api, tag="big,red") == [of_red]
    assert await found(api, tag=["big", "green"]) == []


@pytest.mark.parametrize(
    ("kind", "target", "host"),
    [
        ("http", {"url": "https://API.example.com:8443/a@b"}, "api.example.com"),
        ("http", {"url": "http://[2001:DB8::1]:80/"}, "[2001:db8::1]"),
        (
            "amqp",
            {"url": "amqp://u:p%40x@broker.example.com/v", "routing_key": "q"},
            "broker.example.com",
        ),
    ],
    ids=["https", "address", "amqp"],
)
async def test_executions_are_found_by_the_host_of_their_job(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    kind: str,
    target: dict[str, str],
    host: str,
) -> None:
    here = await insert_job(connection, name="here", run_at=FAR, kind=kind, target=target)
    elsewhere = await insert_job(connection, name="elsewhere", run_at=FAR)
    odd = await insert_job(connection, name="odd", run_at=FAR, target={"url": [1, 2]})
    mine = await recorded(connection, here)
    for other in (elsewhere, odd, uuid4()):
        await recorded(connection, other)

    assert await found(api, host=host) == [mine]
    assert await found(api, host=host.upper()) == [mine]
    assert await found(api, host="example.com") == []


async def test_executions_are_found_by_kind_reason_and_status(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    good = await recorded(connection, uuid4(), status_code=204)
    busy = await recorded(connection, uuid4(), outcome="failed", reason="status", status_code=503)
    none = await recorded(connection, uuid4(), outcome="failed", reason="dns")
    fax = await recorded(connection, uuid4(), kind="fax")

    assert await found(api, kind="fax") == [fax]
    assert await found(api, reason="dns") == [none]
    assert await found(api, reason="dns,status") == [none, busy]
    assert await found(api, status="503") == [busy]
    assert await found(api, status="2xx,503") == [busy, good]
    assert await found(api, status="429") == []


async def test_executions_are_found_by_how_late_and_how_slow_they_were(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report", run_at=FAR)
    late = await recorded(connection, job_id, lag=2.5)
    slow = await recorded(connection, job_id, took=4.0)
    await recorded(
        connection,
        job_id,
        outcome="missed",
        attempt=None,
        started_at=None,
        missed_runs=1,
        missed_until=PAST,
    )
    address = "/v1/jobs/report/executions"

    assert await found(api, late_by=2.5) == [late]
    assert await found(api, late_by=2.6) == []
    assert await found(api, address, late_by=0.1) == [late]
    assert await found(api, slower_than=3.9) == [slow]
    assert await found(api, slower_than=4) == []
    assert await found(api, address, slower_than=0.5, reason="") == [slow, late]


@pytest.mark.parametrize("filters", [{"kind": "fax"}, {"tag": "rare"}], ids=str)
async def test_what_few_executions_meet_is_found_however_many_others_there_are(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    filters: dict[str, str],
) -> None:
    monkeypatch.setattr(executions, "MAX_SEARCHED", 4)
    monkeypatch.setattr(executions, "MAX_LOOKED_UP", 3)
    job_id = await insert_job(connection, name="rare", tags=["rare"], run_at=FAR)
    rare = []
    for n in range(13):
        is_rare = n in {0, 6, 12}
        id = await recorded(
            connection, job_id if is_rare else uuid4(), kind="fax" if is_rare else "http"
        )
        rare += [id] if is_rare else []

    first = (await api.get("/v1/executions", params=filters)).json()

    assert [one["id"] for one in first["items"]] == rare[2:]
    assert await found(api, **filters) == rare[::-1]


def rows_read(plan: dict[str, Any]) -> int:
    own = 0
    if "Relation Name" in plan:
        own = int(
            (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
        )
    return own + sum(rows_read(child) for child in plan.get("Plans", []))


@pytest.mark.parametrize(
    ("filters", "most"),
    [
        ({"kind": "fax"}, 1000),
        ({"reasons": ["dns"]}, 20),
        ({"lowest": [429], "highest": [429]}, 1000),
        ({"late_by": 60.0}, 1000),
        ({"slower_than": 60.0}, 1000),
        ({"tags": ["rare"]}, 2000),
        ({"host": "nowhere.example.com"}, 2000),
    ],
    ids=str,
)
async def test_a_page_that_finds_nothing_reads_no_more_than_is_said(
    connection: asyncpg.Connection, filters: dict[str, Any], most: int
) -> None:
    job_id = await insert_job(connection, name="all", run_at=FAR)
    await connection.execute(
        """insert into tocsin.executions
               (job_id, kind, scheduled_for, attempt, outcome, reason, started_at)
           select $1, 'http', now(), 1,
               case when n % 1000 = 1 then 'failed' else 'succeeded' end,
               case when n % 1000 = 1 then 'status' end, now()
           from generate_series(1, $2) n""",
        job_id,
        ROWS,
    )
    await connection.execute("vacuum analyze tocsin.executions")
    read = []
    for name in ("executions.page", "executions.page_end"):
        wanted = query(name)
        given = dict.fromkeys(wanted.parameters) | {"window": 1000}
        given |= {one: value for one, value in filters.items() if one in given}
        text = await connection.fetchval(
            f"explain (analyze, format json) {wanted.sql}", *wanted.arguments(given)
        )
        read.append(rows_read(json.decode(text)[0]["Plan"]))

    assert max(read) <= most + 10  # each partition is begun
