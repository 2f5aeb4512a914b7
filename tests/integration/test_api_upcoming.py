"""The runs to come over HTTP: listed, paged through and counted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

import app.api.upcoming as handler
from app.db import upcoming
from app.db.queries import query
from tests.support.api import HOURLY, JOB, fields
from tests.support.builders import insert_job

HOUR = timedelta(hours=1)
ROWS = 20_000


@pytest.fixture
async def now(connection: asyncpg.Connection) -> datetime:
    """Return the time of the database."""
    moment: datetime = await connection.fetchval("select clock_timestamp()")
    return moment


async def changed(connection: asyncpg.Connection, how: str, name: str) -> None:
    """Change a job as an instance does, without the triggers for people's edits."""
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute(f"update tocsin.jobs set {how} where name = $1", name)
    await connection.execute("alter table tocsin.jobs enable trigger all")


async def answered(api: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401
    answer = await api.get("/v1/upcoming", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_runs_of_all_jobs_come_in_the_order_of_time(
    api: httpx.AsyncClient, now: datetime
) -> None:
    once = (now + 1.5 * HOUR).isoformat()
    hourly = (await api.post("/v1/jobs", json=HOURLY | {"name": "hourly"})).json()
    await api.post("/v1/jobs", json=JOB | {"name": "once", "run_at": once})
    await api.post("/v1/jobs", json=JOB | {"run_at": "2100-01-01T00:00:00Z"})

    found = await answered(api, until=(now + 3.5 * HOUR).isoformat())

    assert [run["job_name"] for run in found["items"]] == ["hourly", "once", "hourly", "hourly"]
    assert found["items"][0] == {
        "at": hourly["next_run"],
        "scheduled_for": hourly["next_run"],
        "job_id": hourly["id"],
        "job_name": "hourly",
        "skipped": False,
        "closed_until": None,
    }
    first, third = (datetime.fromisoformat(found["items"][n]["at"]) for n in (0, 2))
    assert third - first == HOUR
    assert (found["next_cursor"], found["buckets"]) == (None, None)
    assert datetime.fromisoformat(found["until"]) == now + 3.5 * HOUR


async def test_there_are_only_jobs_that_run(
    api: httpx.AsyncClient, connection: asyncpg.Connection, now: datetime
) -> None:
    for name in ("waits", "paused", "invalid", "finished", "executes"):
        await api.post("/v1/jobs", json=HOURLY | {"name": name})
    await api.post("/v1/jobs/paused/pause")
    await changed(connection, "plan_error = 'bad'", "invalid")
    await changed(connection, "next_run = null", "finished")
    due = "scheduled_for = now(), next_run = now(), locked_until = now() + interval '1 minute'"
    await changed(connection, due, "executes")

    found = await answered(api, until=(now + 1.5 * HOUR).isoformat())

    assert {run["job_name"] for run in found["items"]} == {"waits", "executes"}
    assert len(found["items"]) == 2  # of the one that executes the run after this


async def test_pages_go_on_where_the_one_before_ended(
    api: httpx.AsyncClient, now: datetime
) -> None:
    together = (now + HOUR).isoformat()
    for n in range(5):
        await api.post("/v1/jobs", json=JOB | {"name": f"job {n}", "run_at": together})
    await api.post("/v1/jobs", json=HOURLY | {"name": "hourly", "starts_at": together})
    until = (now + 3.5 * HOUR).isoformat()

    names: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await answered(api, until=until, limit=2, **cursor)
        names += [run["job_name"] for run in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert names == [f"job {n}" for n in range(5)] + ["hourly"] * 3


async def test_runs_are_counted_in_buckets(api: httpx.AsyncClient, now: datetime) -> None:
    start = now.replace(minute=0, second=0, microsecond=0) + 2 * HOUR
    for n in range(3):
        await api.post(
            "/v1/jobs",
            json=JOB | {"every_seconds": 1800, "starts_at": start.isoformat(), "name": f"job {n}"},
        )

    found = await answered(api, until=(start + 2 * HOUR).isoformat(), bucket_seconds=3600)

    assert [(datetime.fromisoformat(one["at"]), one["runs"]) for one in found["buckets"]] == [
        (start, 6),
        (start + HOUR, 6),
    ]
    assert (found["items"], found["next_cursor"]) == ([], None)


async def test_runs_are_listed_and_counted_from_an_instant_on(
    api: httpx.AsyncClient, connection: asyncpg.Connection, now: datetime
) -> None:
    start = now.replace(minute=0, second=0, microsecond=0) + 2 * HOUR
    every = {"every_seconds": 900, "starts_at": (start + HOUR / 8).isoformat()}
    await api.post("/v1/jobs", json=JOB | every | {"name": "often"})
    await api.post("/v1/jobs", json=JOB | {"name": "once", "run_at": (start + HOUR).isoformat()})
    await api.post("/v1/jobs", json=HOURLY | {"name": "late"})
    await changed(connection, "next_run = now() - interval '1 minute'", "late")
    span = {"from": (start + HOUR).isoformat(), "until": (start + 2 * HOUR).isoformat()}

    listed: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await answered(api, limit=2, **span, **cursor)
        listed += [run["job_name"] for run in page["items"] if run["job_name"] != "late"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    counted = await answered(api, bucket_seconds=1800, **span)
    past = await answered(api, **{"from": (now - HOUR).isoformat()}, limit=1)

    assert listed == ["once", *["often"] * 4]
    assert sum(one["runs"] for one in counted["buckets"]) == 6  # with one of the hourly job
    assert {one["at"] for one in counted["buckets"]} == {
        (start + half).strftime("%Y-%m-%dT%H:%M:%SZ") for half in (HOUR, 1.5 * HOUR)
    }
    assert [run["job_name"] for run in past["items"]] == ["late"]


async def test_a_run_now_is_a_run_of_its_job(
    api: httpx.AsyncClient, connection: asyncpg.Connection, now: datetime
) -> None:
    job = (await api.post("/v1/jobs", json=HOURLY | {"name": "hourly"})).json()
    await api.post("/v1/jobs/hourly/run")

    found = await answered(api, until=(now + HOUR / 2).isoformat())

    assert [(run["job_id"], run["job_name"]) for run in found["items"]] == [(job["id"], "hourly")]


async def test_where_there_are_too_many_jobs_the_answer_ends_earlier_and_says_so(
    api: httpx.AsyncClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upcoming, "MAX_SEARCHED", 3)
    for n in range(5):
        run_at = now + (n + 1) * HOUR
        await api.post("/v1/jobs", json=JOB | {"name": f"job {n}", "run_at": run_at.isoformat()})

    found = await answered(api, until=(now + 9 * HOUR).isoformat())

    assert [run["job_name"] for run in found["items"]] == ["job 0", "job 1"]
    assert datetime.fromisoformat(found["until"]) == now + 3 * HOUR


async def test_where_there_are_too_many_schedules_the_answer_ends_earlier_and_says_so(
    api: httpx.AsyncClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upcoming, "MAX_GROUPS", 2)
    for n in range(4):
        run_at = now + (n + 1) * HOUR
        await api.post("/v1/jobs", json=JOB | {"name": f"job {n}", "run_at": run_at.isoformat()})

    found = await answered(api, until=(now + 9 * HOUR).isoformat())

    assert [run["job_name"] for run in found["items"]] == ["job 0", "job 1"]
    assert datetime.fromisoformat(found["until"]) == now + 3 * HOUR


async def test_counting_ends_where_it_takes_too_long_and_says_so(
    api: httpx.AsyncClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MAX_STEPS", 4)
    await api.post("/v1/jobs", json=JOB | {"every_seconds": 60})

    found = await answered(api, until=(now + 9 * HOUR).isoformat(), bucket_seconds=3600)

    until = datetime.fromisoformat(found["until"])
    assert now + 3 * HOUR < until <= now + 4 * HOUR + timedelta(minutes=1)  # the hour may turn
    minutes = (until - now) / timedelta(minutes=1)
    assert minutes - 2 <= sum(one["runs"] for one in found["buckets"]) <= minutes + 1


async def test_a_schedule_that_was_written_past_the_triggers_hides_no_other_job(
    api: httpx.AsyncClient, connection: asyncpg.Connection, now: datetime
) -> None:
    for name in ("odd", "well"):
        await api.post("/v1/jobs", json=JOB | {"name": name, "cron": "* * * * *"})
    await changed(connection, "validated = true, timezone = 'Nowhere/At_All'", "odd")

    found = await answered(api, until=(now + timedelta(minutes=3)).isoformat())

    names = [run["job_name"] for run in found["items"]]
    assert names.count("odd") == 1
    assert names.count("well") in {2, 3}


async def test_without_an_end_it_is_a_day_ahead(api: httpx.AsyncClient, now: datetime) -> None:
    found = await answered(api)

    day = timedelta(days=1)
    assert now + day - HOUR < datetime.fromisoformat(found["until"]) < now + day + HOUR


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("parameters", "field", "remedy"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, "until", "write a later instant"),
        ({"until": ""}, "until", ""),
        ({"until": "2199-01-01T00:00:00Z"}, "until", "within 366 days"),
        ({"until": "2030-01-01T00:00:00"}, "until", "offset"),
        ({"bucket_seconds": "0"}, "bucket_seconds", ">= 1"),
        ({"bucket_seconds": "1"}, "bucket_seconds", "more than 10000 buckets"),
        ({"cursor": "ag"}, "cursor", "next_cursor"),
        ({"to": "2030-01-01T00:00:00Z"}, "to", "did you mean until?"),
        ({"since": "2030-01-01T00:00:00Z"}, "since", "did you mean from?"),
        ({"from": "2199-01-01T00:00:00Z"}, "from", "write a later until"),
    ],
    ids=str,
)
async def test_a_parameter_that_cannot_be_meant_is_refused(
    module_api: httpx.AsyncClient, parameters: dict[str, str], field: str, remedy: str
) -> None:
    answer = await module_api.get("/v1/upcoming", params=parameters)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]
    assert remedy in answer.json()["errors"][0]["message"]


async def test_a_crowd_with_one_cron_is_one_group_read_from_the_index(
    connection: asyncpg.Connection,
) -> None:
    await insert_job(connection, name="far", run_at=datetime(2100, 1, 1, tzinfo=UTC))
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute(
        """insert into tocsin.jobs (kind, target, cron, next_run, scheduled_for, planned_at)
           select 'http', '{"url": "x"}', '0 3 * * *', at, at, now()
           from (select now() + interval '1 hour' as at from generate_series(1, $1)) instants""",
        ROWS,
    )
    await connection.execute("alter table tocsin.jobs enable trigger all")
    await connection.execute("vacuum analyze tocsin.jobs")
    wanted = query("jobs.upcoming")
    given = {"now": await connection.fetchval("select now()"), "groups": 5000}
    given |= {"until": given["now"] + 2 * HOUR, "with_ids": True, "jobs": 1000, "most": 1000}

    rows = await connection.fetch(wanted.sql, *wanted.arguments(given | {"jobs": 50_000}))
    text = await connection.fetchval(
        f"explain (analyze, format json) {wanted.sql}", *wanted.arguments(given)
    )

    assert [(row["jobs"], len(row["ids"]), row["reached"]) for row in rows] == [(ROWS, ROWS, None)]
    assert table_rows(json.decode(text)[0]["Plan"]) <= 1001


def table_rows(plan: dict[str, Any]) -> int:
    """Count the rows that a plan reads from tables."""
    own = 0
    if "Relation Name" in plan:
        read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = int(read * plan["Actual Loops"])
    return own + sum(table_rows(child) for child in plan.get("Plans", []))
