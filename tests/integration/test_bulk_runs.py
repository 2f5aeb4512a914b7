"""Runs that were given up, or never came, are carried out again: each once, and marked as such."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.support.api import fields
from tests.support.builders import execution_rows, insert_job, run_rows
from tests.support.bulk import ask, carried_out, ended
from tests.support.days import distant_hour
from tests.support.instances import StartInstance
from tests.support.sink import Sink, hang, late, reply
from tests.support.waiting import until

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
EXECUTED = """insert into tocsin.executions
    (job_id, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at)
    values ($1, 'http', $2::timestamptz, $3, $4, $5, now(), now()) returning id"""
"""Of just now, as instances delete what is older than they keep."""


async def executed(
    connection: asyncpg.Connection,
    job_id: UUID,
    run: datetime,
    *outcomes: str,
    reason: str = "status",
) -> list[int]:
    """Record the attempts of a run, and return their ids."""
    return [
        await connection.fetchval(
            EXECUTED, job_id, run, attempt, outcome, None if outcome == "succeeded" else reason
        )
        for attempt, outcome in enumerate(outcomes, start=1)
    ]


def daily(sink: Sink, **columns: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"target": {"url": sink.url()}, "every_seconds": 86_400, "starts_at": BEGIN, **columns}


async def dead(connection: asyncpg.Connection) -> set[int]:
    return {row["id"] for row in await connection.fetch("select id from tocsin.dead_letters")}


async def test_dead_letters_are_a_view_and_a_filter(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=FAR, name="report", tags=["billing"])
    gone = await insert_job(connection, run_at=FAR)
    given_up = await executed(connection, job_id, BEGIN, "failed", "timed_out")
    await executed(connection, job_id, BEGIN + DAY, "failed", "succeeded")
    await executed(connection, job_id, BEGIN + 2 * DAY, "cancelled")
    lost = await executed(connection, job_id, BEGIN + 3 * DAY, "lost", reason="lease")
    await executed(connection, gone, BEGIN, "failed")
    await connection.execute("delete from tocsin.jobs where id = $1", gone)

    listed = (await api.get("/v1/executions?dead_letter=true")).json()["items"]
    of_job = (await api.get("/v1/jobs/report/executions?dead_letter=true&reason=lease")).json()

    assert [one["id"] for one in listed] == [*lost, given_up[-1]]
    assert await dead(connection) == {*lost, given_up[-1]}
    assert [one["id"] for one in of_job["items"]] == lost
    await connection.execute("select tocsin.run_now($1, $2)", job_id, BEGIN)
    assert await dead(connection) == set(lost)  # the other is to be carried out again


async def test_redriving_replays_each_run_that_was_given_up_once_and_the_target_is_told(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    job_ids = [await insert_job(connection, **daily(sink, paused_at=None)) for _ in range(3)]
    for job_id in job_ids:
        await executed(connection, job_id, BEGIN, "failed", "failed")
        await executed(connection, job_id, BEGIN + DAY, "failed", "succeeded")
        await executed(connection, job_id, BEGIN + 2 * DAY, "timed_out", reason="timeout")

    preview = await api.post(
        "/v1/bulk", json={"action": "redrive", "filter": {"all": True}, "dry_run": True}
    )
    done = await carried_out(
        api, instance, action="redrive", filter={"reason": "status"}, rate_per_second=100
    )

    assert (preview.json()["count"], len(preview.json()["sample"])) == (6, 6)
    assert preview.json()["outcomes"] == {"failed": 3, "timed_out": 3}
    assert (done["state"], done["matched"], done["changed"]) == ("finished", 3, 3)

    async def are_carried_out() -> bool:
        return len([one for one in sink.requests if "tocsin-trigger" in one.headers]) == 3

    async with instance():
        await until(are_carried_out, "each run is carried out again")
    replays = [one.headers for one in sink.requests if "tocsin-trigger" in one.headers]
    assert {one["tocsin-trigger"] for one in replays} == {"replay"}
    assert {one["idempotency-key"] for one in replays} == {
        f"{job_id}:2026-01-01T00:00:00Z" for job_id in job_ids
    }
    again = await api.post(
        "/v1/bulk", json={"action": "redrive", "filter": {"reason": "status"}, "dry_run": True}
    )
    assert again.json()["count"] == 0


async def test_a_replay_takes_each_run_by_its_last_execution(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=FAR, tags=["billing"])
    await executed(connection, job_id, BEGIN, "failed", "failed", "succeeded")
    await executed(connection, job_id, BEGIN + DAY, "succeeded")
    await executed(connection, job_id, BEGIN + 2 * DAY, "failed", "failed")
    deleted = await insert_job(connection, run_at=FAR)
    [orphan] = await executed(connection, deleted, BEGIN, "succeeded")
    await connection.execute("delete from tocsin.jobs where id = $1", deleted)
    paused = await insert_job(connection, run_at=FAR, paused_at=BEGIN)
    [of_paused] = await executed(connection, paused, BEGIN, "succeeded")

    done = await carried_out(
        api, instance, action="replay", filter={"outcome": "succeeded"}, rate_per_second=100
    )

    assert (done["matched"], done["changed"], done["failed"]) == (4, 2, 2)
    problems = {one["execution_id"]: one["problem"] for one in done["problems"]}
    assert "deleted" in problems[orphan]
    assert "paused" in problems[of_paused]


async def test_redriving_twice_at_once_asks_for_each_run_once(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.default = late(3.0, reply(200))
    job_id = await insert_job(connection, **daily(sink, starts_at=FAR))
    for day in range(5):
        await executed(connection, job_id, BEGIN + day * DAY, "failed")

    first = await ask(api, action="redrive", filter={"all": True}, rate_per_second=1000)
    second = await ask(api, action="redrive", filter={"all": True}, rate_per_second=1000)
    async with instance(), instance():
        done = [await ended(api, one["id"]) for one in (first, second)]
        assert len(await run_rows(connection, job_id)) <= 5
        for one in await run_rows(connection, job_id):
            await connection.execute("delete from tocsin.jobs where id = $1", one["id"])

    assert sum(one["changed"] for one in done) == 5


async def test_what_executes_is_cancelled(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.default = hang
    slow = [
        await insert_job(connection, target={"url": sink.url()}, tags=["slow"], timeout_seconds=90)
        for _ in range(3)
    ]
    other = await insert_job(connection, target={"url": sink.url()}, timeout_seconds=90)

    async with instance(grace_seconds=0.1):

        async def all_execute() -> bool:
            return len(sink.requests) == 4

        await until(all_execute, "all execute")
        asked = await ask(api, action="cancel", filter={"tag": "slow"})
        done = await ended(api, asked["id"])
        states = {
            id: (await api.get(f"/v1/jobs/{id}")).json()["last_outcome"] for id in [*slow, other]
        }

    assert (done["matched"], done["changed"]) == (3, 3)
    assert states == {**dict.fromkeys(slow, "cancelled"), other: None}
    for id in slow:
        [row] = await execution_rows(connection, id)
        assert (row["outcome"], row["reason"]) == ("cancelled", "cancelled")


async def test_all_that_executes_of_a_job_is_cancelled_where_its_runs_go_side_by_side(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.default = hang
    job_id = await insert_job(
        connection,
        target={"url": sink.url()},
        every_seconds=86_400,
        overlap="allow_all",
        timeout_seconds=90,
    )
    for _ in range(3):
        await connection.execute("select tocsin.run_now($1)", job_id)

    async with instance(grace_seconds=0.1):
        await sink.arrived(3)
        asked = await ask(api, action="cancel", filter={"job": str(job_id)})
        done = await ended(api, asked["id"])

    assert (done["matched"], done["changed"], done["failed"]) == (1, 1, 0)
    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["reason"]) for row in rows] == [("cancelled", "cancelled")] * 3


async def test_a_backfill_carries_out_closed_runs_too_and_the_plan_keeps_to_the_calendars(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    """What is asked for passes by calendars; what the plan put off stays put off behind it."""
    hour = distant_hour()
    closed = f"2026-01-03/{datetime.now(UTC).date() + DAY}"
    calendar = await api.put("/v1/calendars/closed", json={"dates": [closed]})
    assert calendar.status_code == 201, calendar.text
    ids = {
        on_closed: await insert_job(
            connection,
            target={"url": sink.url()},
            cron=f"0 {hour} * * *",
            calendars=["!closed"],
            on_closed=on_closed,
            tags=["billing"],
            min_gap_seconds=60,
        )
        for on_closed in ("skip", "next_open")
    }
    body = {
        "action": "backfill",
        "filter": {"tag": "billing"},
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-07T00:00:00Z",
        "rate_per_second": 1000,
    }

    async with instance():
        preview = (await api.post("/v1/bulk", json={**body, "dry_run": True})).json()
        done = await ended(api, (await ask(api, **body))["id"])
        await sink.arrived(12)

        async def are_due() -> bool:
            await connection.execute(
                """update tocsin.jobs set next_run = now(), scheduled_for = now(),
                       planned_at = clock_timestamp()
                   where run_of is null and next_run > now() + interval '1 hour'
                     and scheduled_for > now()"""
            )
            return not await connection.fetchval(
                """select exists (select from tocsin.jobs where run_of is not null
                       or (on_closed = 'next_open' and next_run < now() + interval '1 hour'))
                   or not exists (select from tocsin.executions where reason = 'calendar')"""
            )

        await until(are_due, "the plan is judged by the calendars")

    assert (preview["runs"], done["changed"], done["failed"]) == (12, 12, 0)
    assert len(sink.requests) == 12
    for id in ids.values():
        rows = await execution_rows(connection, id)
        ran = [row["scheduled_for"] for row in rows if row["attempt"] is not None]
        assert ran == [BEGIN + day * DAY + timedelta(hours=hour) for day in range(6)]
    missed = [row for row in await execution_rows(connection, ids["skip"]) if not row["attempt"]]
    assert {row["reason"] for row in missed} == {"calendar"}


async def test_a_backfill_carries_out_the_runs_of_a_range_in_order_each_once(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    body = {
        "action": "backfill",
        "filter": {"tag": "billing"},
        "from": "2026-01-02T00:00:00Z",
        "to": "2026-01-31T00:00:00Z",
        "rate_per_second": 200,
    }
    ids = []
    for name in ("a", "b"):
        answer = await api.post(
            "/v1/jobs",
            json={
                "name": name,
                "kind": "http",
                "target": {"url": sink.url()},
                "cron": "0 0 1-20 1 *",
                "tags": ["billing"],
            },
        )
        ids.append(answer.json()["id"])

    preview = (await api.post("/v1/bulk", json={**body, "dry_run": True})).json()
    done = await carried_out(api, instance, **body)

    assert (preview["count"], preview["runs"]) == (2, 38)
    assert [one["runs"] for one in preview["sample"]] == [19, 19]
    assert (done["state"], done["expected"], done["matched"], done["changed"]) == (
        "finished",
        38,
        38,
        38,
    )

    async def are_carried_out() -> bool:
        return len(sink.requests) >= 38

    async with instance():
        await until(are_carried_out, "all runs are carried out")
    days = [f"2026-01-{day:02}T00:00:00Z" for day in range(2, 21)]
    for id in ids:
        mine = [one.headers for one in sink.requests if one.headers["tocsin-job-id"] == id]
        assert [one["tocsin-scheduled-for"] for one in mine] == days
        assert {one["tocsin-trigger"] for one in mine} == {"backfill"}
        assert [one["idempotency-key"] for one in mine] == [f"{id}:{day}" for day in days]


@pytest.mark.parametrize("overlap", ["buffer_all", "allow_all"])
async def test_the_plan_of_a_job_goes_on_during_its_backfill_of_which_few_runs_wait(
    *,
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    overlap: str,
) -> None:
    sink.default = late(0.05, reply(200))
    job_id = await insert_job(
        connection, target={"url": sink.url()}, every_seconds=1, overlap=overlap
    )
    async with instance():

        async def is_planned() -> bool:
            return bool(
                await connection.fetchval("select next_run from tocsin.jobs where id = $1", job_id)
            )

        await until(is_planned, "it is planned")
        asked = await ask(
            api,
            action="backfill",
            filter={"all": True},
            **{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            rate_per_second=1000,
        )

        async def goes_on() -> bool:
            kinds = ["tocsin-trigger" in one.headers for one in sink.requests]
            return kinds.count(True) >= 30 and kinds.count(False) >= 2

        await until(goes_on, "both go on", within=60)
        rows = await run_rows(connection, job_id)
        waiting = len([row for row in rows if row["request"] == "backfill"])
        await api.post(f"/v1/bulk/{asked['id']}/cancel")
        await connection.execute("update tocsin.jobs set paused_at = now() where run_of is null")

    assert waiting <= 10


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2190-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-02T00:00:00Z"}, "to"),
        ({"from": "2026-01-02", "to": "2026-01-03T00:00:00Z"}, "from"),
    ],
)
async def test_a_range_that_cannot_be_is_refused(
    api: httpx.AsyncClient, given: dict[str, str], field: str
) -> None:
    answer = await api.post(
        "/v1/bulk", json={"action": "backfill", "filter": {"all": True}, **given}
    )

    assert (answer.status_code, fields(answer)) == (422, [field])


async def test_a_run_now_says_so_to_the_target_and_a_planned_run_says_nothing(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    job_id = await insert_job(connection, **daily(sink, starts_at=FAR))
    await insert_job(connection, target={"url": sink.url()})

    async with instance():

        async def has_come() -> bool:
            return len(sink.requests) == 1

        await until(has_come, "the planned run has come")
        answer = await api.post(f"/v1/jobs/{job_id}/run")
        assert answer.status_code == 202

        async def have_come() -> bool:
            return len(sink.requests) == 2

        await until(have_come, "the run now has come")

    assert [one.headers.get("tocsin-trigger") for one in sink.requests] == [None, "run_now"]
