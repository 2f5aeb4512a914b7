"""The record of executions over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from msgspec import json

from app.db.queries import query
from tests.support.api import LATER, fields
from tests.support.builders import insert_job

PAST = datetime(2026, 1, 1, 3, tzinfo=UTC)
ROWS = 20_000


async def recorded(connection: asyncpg.Connection, job_id: UUID, **columns: Any) -> int:  # noqa: ANN401
    columns = {
        "job_id": job_id,
        "kind": "http",
        "scheduled_for": PAST,
        "attempt": 1,
        "outcome": "succeeded",
        "started_at": PAST + timedelta(seconds=0.5),
        "finished_at": PAST + timedelta(seconds=2),
    } | columns
    names, places = ", ".join(columns), ", ".join(f"${n + 1}" for n in range(len(columns)))
    id: int = await connection.fetchval(
        f"insert into tocsin.executions ({names}) values ({places}) returning id",
        *columns.values(),
    )
    return id


async def ids(api: httpx.AsyncClient, address: str = "/v1/executions", **filters: Any) -> list[int]:  # noqa: ANN401
    answer = await api.get(address, params=filters)
    assert answer.status_code == 200, answer.text
    return [execution["id"] for execution in answer.json()["items"]]


async def test_an_execution_has_all_that_was_recorded(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = uuid4()
    id = await recorded(
        connection,
        job_id,
        fence=7,
        outcome="failed",
        reason="status",
        instance="host:1:abcd",
        status_code=503,
        response="busy",
        error="the target answered 503",
    )

    answer = await api.get(f"/v1/executions/{id}")

    assert answer.json() == {
        "id": id,
        "job_id": str(job_id),
        "job_name": None,
        "tags": [],
        "fence": 7,
        "kind": "http",
        "scheduled_for": "2026-01-01T03:00:00Z",
        "attempt": 1,
        "outcome": "failed",
        "reason": "status",
        "started_at": "2026-01-01T03:00:00.500000Z",
        "finished_at": "2026-01-01T03:00:02Z",
        "instance": "host:1:abcd",
        "status_code": 503,
        "response": "busy",
        "error": "the target answered 503",
        "missed_runs": None,
        "missed_until": None,
        "lag_seconds": 0.5,
        "duration_seconds": 1.5,
    }
    assert (await api.get("/v1/executions")).json()["items"] == [answer.json()]


async def test_a_missed_row_says_how_many_runs_it_stands_for(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    until = PAST + timedelta(days=3)
    id = await recorded(
        connection,
        uuid4(),
        outcome="missed",
        reason="misfire",
        attempt=None,
        started_at=None,
        missed_runs=4,
        missed_until=until,
    )

    execution = (await api.get(f"/v1/executions/{id}")).json()

    assert (execution["missed_runs"], execution["missed_until"]) == (4, "2026-01-04T03:00:00Z")
    assert (execution["lag_seconds"], execution["duration_seconds"]) == (None, None)


@pytest.mark.parametrize("id", ["1", "0", "9223372036854775808", "nonsense", "1.5"])
async def test_an_execution_that_is_not_there_is_not_found(api: httpx.AsyncClient, id: str) -> None:
    answer = await api.get(f"/v1/executions/{id}")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_pages_of_executions_stay_put_while_more_are_recorded(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    made = [await recorded(connection, uuid4()) for _ in range(5)]

    first = (await api.get("/v1/executions", params={"limit": 2})).json()
    await recorded(connection, uuid4())
    second = await ids(api, limit=2, cursor=first["next_cursor"])
    rest = (
        await api.get("/v1/executions", params={"limit": 200, "cursor": first["next_cursor"]})
    ).json()

    assert [execution["id"] for execution in first["items"]] == made[:2:-1]
    assert second == made[2:0:-1]
    assert ([one["id"] for one in rest["items"]], rest["next_cursor"]) == (made[2::-1], None)


async def test_filters_find_what_they_say(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    day = timedelta(days=1)
    old = await recorded(connection, uuid4(), outcome="failed", finished_at=PAST)
    new = await recorded(connection, uuid4(), finished_at=PAST + day)
    lost = await recorded(connection, uuid4(), outcome="lost", finished_at=PAST + 2 * day)
    middle = "2026-01-02T05:00:00+02:00"

    assert await ids(api, outcome="failed") == [old]
    assert await ids(api, outcome="failed,lost") == [lost, old]
    assert await ids(api, outcome=["failed", "succeeded"]) == [new, old]
    assert await ids(api, **{"from": middle}) == [lost, new]
    assert await ids(api, to=middle) == [old]
    assert await ids(api, outcome="lost", **{"from": middle, "to": "2027-01-01T00:00:00Z"}) == [
        lost
    ]


async def test_a_job_has_its_executions_by_id_and_by_name(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report")
    mine = [await recorded(connection, job_id), await recorded(connection, job_id, outcome="lost")]
    await recorded(connection, uuid4())

    assert await ids(api, f"/v1/jobs/{job_id}/executions") == mine[::-1]
    assert await ids(api, "/v1/jobs/report/executions") == mine[::-1]
    assert await ids(api, "/v1/jobs/report/executions", outcome="lost") == [mine[1]]
    assert await ids(api, "/v1/jobs/report/executions", outcome="failed") == []


async def test_a_deleted_job_has_its_executions_by_id(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job = (await api.post("/v1/jobs", json=LATER | {"name": "report"})).json()
    id = await recorded(connection, UUID(job["id"]))
    address = f"/v1/jobs/{job['id']}/executions"
    assert await ids(api, "/v1/jobs/report/executions") == [id]

    await api.delete("/v1/jobs/report")

    assert await ids(api, address) == [id]
    assert await ids(api, address, outcome="failed") == []
    assert (await api.get("/v1/jobs/report/executions")).status_code == 404
    assert (await api.get(f"/v1/jobs/{uuid4()}/executions")).status_code == 404


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("address", "field", "remedy"),
    [
        ("/v1/executions?outcome=faild", "outcome", "write one of succeeded, failed"),
        ("/v1/jobs/report/executions?outcome=failed,lots", "outcome", "write one of succeeded"),
        ("/v1/executions?from=2026-01-01T00:00:00", "from", "offset"),
        ("/v1/jobs/report/executions?to=2026-01-01T00:00:00", "to", "offset"),
        ("/v1/executions?to=yesterday", "to", "RFC3339"),
        ("/v1/executions?from=2026-01-01", "from", 'for example "2030-01-31T08:30:00Z"'),
        ("/v1/jobs?place=name", "place", "there are limit, cursor"),
        ("/v1/jobs?sort=name", "sort", "write one of newest, next_run"),
        ("/v1/executions?from=0001-01-01T00:00:00%2B14:00", "from", "out of range"),
        ("/v1/executions?cursor=agAAAAAAAAAAAAAAAAAAAAAA", "cursor", "next_cursor"),
        (
            "/v1/executions?since=2026-01-01T00:00:00Z",
            "since",
            "unknown parameter: did you mean from",
        ),
        ("/v1/executions?status=failed", "status", "did you mean outcome?"),
        ("/v1/executions?job=nobody", "job", "no job has the name 'nobody'"),
        ("/v1/executions?job_id=report", "job_id", "did you mean job?"),
        ("/v1/executions?status=600", "status", "such as 503 or 5xx"),
        ("/v1/executions?late_by=-1", "late_by", ">= 0"),
        ("/v1/executions?slower_than=long", "slower_than", "must be a number"),
        ("/v1/executions?lag=3", "lag", "did you mean late_by?"),
        ("/v1/jobs/report/executions?duration=3", "duration", "did you mean slower_than?"),
        ("/v1/jobs/report/executions?until=x", "until", "did you mean to?"),
        ("/v1/executions?from=2026-01-01T00:00:00+01:00", "from", "write + as %2B"),
        ("/v1/executions?to=2026-01-01T00:00:00.5+0100", "to", "write + as %2B"),
        ("/v1/jobs/report/executions?from=2026-01-01T00:00:00+01:00", "from", "write + as %2B"),
        ("/v1/audit?job=report", "job", "did you mean entity_id?"),
        ("/v1/jobs?id=report", "id", "/v1/jobs/JOB"),
    ],
)
async def test_a_parameter_that_cannot_be_meant_is_refused(
    module_api: httpx.AsyncClient, address: str, field: str, remedy: str
) -> None:
    await module_api.put("/v1/jobs/report", json=LATER)

    answer = await module_api.get(address)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]
    assert remedy in answer.json()["errors"][0]["message"]


def scanned(plan: dict[str, Any]) -> set[str]:
    """Name the partitions that a plan reads."""
    own = {plan["Relation Name"]} if "Relation Name" in plan else set()
    return own.union(*(scanned(child) for child in plan.get("Plans", [])))


def rows_read(plan: dict[str, Any]) -> int:
    own = 0
    if "Relation Name" in plan:
        own = int(
            (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
        )
    return own + sum(rows_read(child) for child in plan.get("Plans", []))


async def explained(connection: asyncpg.Connection, **given: Any) -> dict[str, Any]:  # noqa: ANN401
    page = query("executions.page")
    text = await connection.fetchval(
        f"explain (analyze, format json) {page.sql}",
        *page.arguments(dict.fromkeys(page.parameters) | {"limit": 51, "window": 51} | given),
    )
    plan: dict[str, Any] = json.decode(text)[0]["Plan"]
    return plan


async def test_a_range_of_time_reads_only_its_days(connection: asyncpg.Connection) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    plan = await explained(connection, since=tomorrow, until=tomorrow + timedelta(minutes=1))

    assert f"executions_{tomorrow:%Y%m%d}" in scanned(plan)
    assert len(scanned(plan)) <= 3  # that day, perhaps the next, and the default


@pytest.mark.parametrize(
    "given",
    [{}, {"outcomes": ["failed", "lost"]}, {"before": 10_000}, {"job_id": "rare"}],
    ids=["all", "troubled", "cursor", "job"],
)
async def test_a_page_reads_about_as_many_rows_as_it_has(
    connection: asyncpg.Connection, given: dict[str, Any]
) -> None:
    rare = uuid4()
    await connection.execute(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, started_at)
           select case when n % 1000 = 0 then $1 else gen_random_uuid() end, 'http', now(), 1,
               case when n % 1000 = 1 then 'failed' else 'succeeded' end, now()
           from generate_series(1, $2) n""",
        rare,
        ROWS,
    )
    await connection.execute("vacuum analyze tocsin.executions")

    plan = await explained(connection, **given | ({"job_id": rare} if "job_id" in given else {}))

    assert rows_read(plan) <= 100


@pytest.mark.parametrize("outcome", ["lost", "timed_out"])
async def test_a_page_of_a_rare_outcome_reads_none_of_the_executions_that_failed(
    connection: asyncpg.Connection, outcome: str
) -> None:
    await connection.execute(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, started_at)
           select gen_random_uuid(), 'http', now(), 1,
               case when n = 1 then 'lost' when n % 5 = 0 then 'failed' else 'succeeded' end, now()
           from generate_series(1, $1) n""",
        ROWS,
    )
    await connection.execute("vacuum analyze tocsin.executions")

    plan = await explained(connection, outcomes=[outcome])

    assert rows_read(plan) <= 1
