"""An execution is cut off on whichever instance has it, by the API and by psql."""

import asyncio
import random
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.facts import LeaseLost, Settled
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.psql import run_psql
from tests.support.sessions import claimed_one
from tests.support.sink import Sink, hang, late, reply
from tests.support.waiting import until

SO_LONG: dict[str, Any] = {"lease_seconds": 600, "grace_seconds": 0.1}
"""Only a notification ends an execution in time."""


async def under_way(api: httpx.AsyncClient, job_id: UUID) -> int:
    """Return the id of the execution that a client is shown with its job."""
    id: int = (await api.get(f"/v1/jobs/{job_id}")).json()["execution_id"]
    return id


async def is_cut_off(sink: Sink) -> bool:
    return sink.open == 0


async def test_the_instance_that_executes_is_told_at_once_and_cuts_it_off(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    job_id = await insert_job(
        connection, target={"url": sink.on("/stuck", hang)}, timeout_seconds=600
    )
    async with instance(**SO_LONG) as (one, facts), instance(**SO_LONG) as (two, others):
        await sink.arrived()
        id = await under_way(api, job_id)

        answer = await api.post(f"/v1/executions/{id}/cancel")

        await until(partial(is_cut_off, sink), "the request was cut off", within=30)
        holder = answer.json()["instance"]
        told = {one.name: facts, two.name: others}[holder]
        await told.seen(Settled, job_id=job_id, outcome="cancelled", reason="cancelled")
        row = await job_row(connection, job_id)

    assert answer.status_code == 200
    assert (answer.json()["outcome"], answer.json()["reason"]) == ("cancelled", "cancelled")
    assert (row["next_run"], row["state"]) == (None, "failed")
    assert [one["outcome"] for one in await execution_rows(connection, job_id)] == ["cancelled"]
    assert facts.of(LeaseLost) + others.of(LeaseLost) == []
    assert len(sink.requests) == 1


async def test_a_lost_notification_costs_no_more_than_the_time_to_the_next_extension(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.scheduler.instance.recall", lambda *_: None)
    job_id = await insert_job(
        connection, target={"url": sink.on("/stuck", hang)}, timeout_seconds=600, max_attempts=1
    )
    async with instance(lease_seconds=6) as (_, facts):
        await sink.arrived()
        id = (await job_row(connection, job_id))["execution_id"]

        await connection.execute("select tocsin.cancel($1)", id)

        await facts.seen(Settled, job_id=job_id, outcome="cancelled", within=30)
        assert sink.open == 0

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"]) == ("cancelled", "cancelled")


async def test_psql_cancels_what_it_has_chosen_and_is_told_what_became_of_it(
    database_url: str, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    target = {"url": sink.on("/stuck", hang, hang)}
    for _ in range(2):
        await insert_job(connection, target=target, timeout_seconds=600, tags=["stuck"])
    async with instance(**SO_LONG):
        await sink.arrived(2)

        said = run_psql(
            database_url,
            "select (tocsin.cancel(execution_id)).outcome from tocsin.jobs where tags @> '{stuck}'",
        )

        await until(partial(is_cut_off, sink), "both requests were cut off", within=30)

    assert said.split() == ["cancelled", "cancelled"]


@pytest.mark.parametrize("beside", [False, True], ids=["of the plan", "run now"])
async def test_the_next_attempt_begins_once_the_one_that_was_cancelled_is_cut_off(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    beside: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    target = {"url": sink.on("/stuck", hang, reply(200))}
    run_at = await connection.fetchval("select now() + interval '1 hour' * $1::int", int(beside))
    job_id = await insert_job(
        connection, target=target, run_at=run_at, timeout_seconds=600, backoff_seconds=0
    )
    if beside:
        await connection.execute("select tocsin.run_now($1)", job_id)
    async with instance(**SO_LONG) as (_, facts):
        await sink.arrived()
        id = await under_way(api, job_id)

        answer = await api.post(f"/v1/executions/{id}/cancel", json={"retry": True})

        await facts.seen(Settled, job_id=job_id, outcome="succeeded", within=30)

    assert answer.status_code == 200
    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["attempt"]) for row in rows] == [
        ("cancelled", 1),
        ("succeeded", 2),
    ]
    assert len({request.headers["idempotency-key"] for request in sink.requests}) == 1
    assert sink.most_open == 1, "never two at once"
    assert (await job_row(connection, job_id))["locked_until"] is None


async def test_a_job_that_recurs_goes_on_after_its_execution_was_cancelled(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    job_id = await insert_job(
        connection,
        target={"url": sink.on("/stuck", hang, reply(200))},
        every_seconds=1,
        misfire="run_all",
        timeout_seconds=600,
    )
    async with instance(**SO_LONG) as (_, facts):
        await sink.arrived()
        id = await under_way(api, job_id)
        cancelled = await api.post(f"/v1/executions/{id}/cancel")
        await facts.seen(Settled, job_id=job_id, outcome="succeeded", within=30)

    assert cancelled.status_code == 200
    first, second = (await execution_rows(connection, job_id))[:2]
    assert (first["outcome"], second["outcome"]) == ("cancelled", "succeeded")
    assert second["scheduled_for"] - first["scheduled_for"] == timedelta(seconds=1)
    assert sink.most_open == 1


async def test_of_a_claim_that_has_not_started_nothing_is_sent_any_more(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.scheduler.poller.AHEAD_SECONDS", 4.0)
    async with instance(**SO_LONG) as (_, facts):
        run_at = await connection.fetchval("select now() + interval '3 seconds'")
        job_id = await insert_job(connection, target={"url": sink.url("/")}, run_at=run_at)

        async def is_held() -> bool:
            return (await job_row(connection, job_id))["execution_id"] is not None

        await until(is_held, "the job was claimed ahead", within=30)
        await connection.execute("select tocsin.cancel(execution_id) from tocsin.jobs")
        await facts.seen(Settled, job_id=job_id, outcome=None, within=30)
        after = await insert_job(connection, target={"url": sink.url("/after")}, run_at=run_at)
        await facts.seen(Settled, job_id=after, outcome="succeeded", within=30)

    assert [request.path for request in sink.requests] == ["/after"]
    [row] = await execution_rows(connection, job_id)
    assert row["outcome"] == "cancelled"


async def test_a_publisher_that_waits_for_its_broker_is_cut_off_too(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    url = sink.url("/").replace("http", "amqp")
    job_id = await insert_job(
        connection,
        kind="amqp",
        target={"url": url, "exchange": "", "routing_key": "q"},
        timeout_seconds=600,
    )
    async with instance(**SO_LONG) as (_, facts):
        await sink.connected()
        id = (await job_row(connection, job_id))["execution_id"]
        await connection.execute("select tocsin.cancel($1)", id)
        await facts.seen(Settled, job_id=job_id, outcome="cancelled", within=30)

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"]) == ("cancelled", "cancelled")


async def test_answers_that_race_their_cancellations_leave_one_record_each(
    instance: StartInstance, connection: asyncpg.Connection, database_url: str, sink: Sink
) -> None:
    chance = random.Random(9)
    jobs = []
    for number in range(40):
        path = f"/{number}"
        target = {"url": sink.on(path, late(0.2 + chance.random() / 5, reply(200)))}
        jobs.append(await insert_job(connection, target=target))
    pool = await asyncpg.create_pool(database_url, min_size=8, max_size=8)
    async with instance(concurrency=40) as (_, facts):
        await sink.arrived(len(jobs))
        ids = {job: (await job_row(connection, job))["execution_id"] for job in jobs}

        async def cancel(job: UUID) -> str | None:
            await asyncio.sleep(chance.random() / 5)
            said: str | None = await pool.fetchval(
                "select outcome from tocsin.cancel($1)", ids[job]
            )
            return said

        said = await asyncio.gather(*map(cancel, jobs))
        for job in jobs:
            await facts.seen(Settled, job_id=job, within=30)
    await pool.close()

    for job, answer in zip(jobs, said, strict=True):
        rows = await execution_rows(connection, job)
        assert [row["outcome"] for row in rows] == [answer or "succeeded"]
        assert (await job_row(connection, job))["runs"] == 1


async def test_what_is_not_under_way_is_refused_and_once_more_is_as_good_as_once(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    done = await insert_job(connection, target={"url": sink.url("/done")})
    async with instance(**SO_LONG) as (_, facts):
        await facts.seen(Settled, job_id=done, outcome="succeeded")
        stuck = await insert_job(
            connection, target={"url": sink.on("/stuck", hang)}, timeout_seconds=600
        )
        await sink.arrived(2)
        id = await under_way(api, stuck)
        first = await api.post(f"/v1/executions/{id}/cancel", json={})
        again = await api.post(f"/v1/executions/{id}/cancel", json={"retry": True})
    [row] = await execution_rows(connection, done)

    over = await api.post(f"/v1/executions/{row['id']}/cancel")
    missed = await connection.fetchval(
        """insert into tocsin.executions (job_id, kind, scheduled_for, outcome, missed_runs,
               missed_until) values ($1, 'http', now(), 'missed', 1, now()) returning id""",
        done,
    )
    never = await api.post(f"/v1/executions/{missed}/cancel")

    assert (again.status_code, again.json()) == (200, first.json())
    assert (over.status_code, over.json()["type"]) == (409, "urn:tocsin:problem:state-conflict")
    assert "has ended (succeeded)" in over.json()["detail"]
    assert (never.status_code, "never started" in never.json()["detail"]) == (409, True)
    assert await under_way(api, done) is None


@pytest.mark.parametrize("id", ["-1", "4611686018427387903", "99999999999999999999999"])
async def test_an_execution_that_is_not_there_cannot_be_cancelled(
    api: httpx.AsyncClient, id: str
) -> None:
    answer = await api.post(f"/v1/executions/{id}/cancel")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"retries": true}', 422, "retries"),
        (b'{"retry": "yes"}', 422, "retry"),
        (b'{"retry": null}', 422, "retry"),
        (b"[]", 422, "$"),
        (b"{", 400, None),
    ],
)
async def test_a_body_that_says_something_else_is_refused(
    api: httpx.AsyncClient, body: bytes, status: int, field: str | None
) -> None:
    answer = await api.post("/v1/executions/1/cancel", content=body)

    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])


async def test_a_cancellation_that_a_trigger_of_users_suppresses_is_told_so(
    api: httpx.AsyncClient, connection: asyncpg.Connection, session: Session
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    await connection.execute(
        """create function public.keep() returns trigger language plpgsql as
               'begin return null; end';
           create trigger zzz before update on tocsin.jobs
               for each row execute function public.keep()"""
    )

    answer = await api.post(f"/v1/executions/{claim.execution_id}/cancel")

    assert (answer.status_code, answer.json()["type"]) == (
        422,
        "urn:tocsin:problem:trigger-refused",
    )
    assert await execution_rows(connection, job_id) == []


async def test_who_cancelled_is_in_the_audit_log_as_the_holder_of_the_key(
    api: httpx.AsyncClient, connection: asyncpg.Connection, session: Session
) -> None:
    key = (await api.post("/v1/keys", json={"name": "ops", "scopes": ["admin"]})).json()["key"]
    api.headers["Authorization"] = f"Bearer {key}"
    await insert_job(connection, name="report")
    claim = await claimed_one(session)

    answer = await api.post(f"/v1/executions/{claim.execution_id}/cancel")

    entry = (await api.get("/v1/audit")).json()["items"][0]
    assert (entry["entity"], entry["entity_name"]) == ("job", "report")
    assert "ops" in entry["actor"]
    assert entry["changed"] == ["execution"]
    assert entry["after"] == {"execution": {"id": claim.execution_id, "outcome": "cancelled"}}
    assert "ops" in answer.json()["error"]
