"""One or more instances doing their whole work: real Postgres, real HTTP."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Looked, Planned, Settled, Started
from app.core.runs.outcome import Outcome
from app.db import Database
from app.db.clock import DatabaseClock, ask
from app.scheduler import runner
from app.targets.net.guard import Guard
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.sink import Sink, hang, late, reply

SOON = timedelta(seconds=0.4)
LATE = timedelta(seconds=2)
"""Later than this comes what no notification told of: the instances sleep for far longer."""
SLOW_SECONDS = 0.7


async def insert(
    connection: asyncpg.Connection,
    sink: Sink,
    path: str = "/",
    **columns: Any,  # noqa: ANN401
) -> UUID:
    return await insert_job(connection, target={"url": sink.url(path)}, **columns)


async def test_a_job_inserted_while_all_sleep_is_executed_on_time_and_recorded(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    run_at = datetime.now(UTC) + SOON
    async with instance() as (one, facts):
        job_id = await insert(connection, sink, "/soon", run_at=run_at, name="soon")
        [request] = await sink.arrived()
        await facts.seen(Settled)

    arrived = datetime.fromtimestamp(request.wall, UTC)
    assert timedelta(0) <= arrived - run_at < LATE
    assert request.path == "/soon"
    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["status_code"]) == ("succeeded", 200)
    assert execution["instance"] == one.name
    assert execution["scheduled_for"] == run_at
    assert request.headers["tocsin-execution-id"] == str(execution["id"])
    assert request.headers["tocsin-job-name"] == "soon"
    assert request.headers["idempotency-key"].startswith(f"{job_id}:")
    assert (await job_row(connection, job_id))["state"] == "finished"


async def test_a_cron_typed_in_psql_is_planned_and_then_fires_each_second_exactly_once(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts), instance() as (_, others):
        job_id = await insert(connection, sink, cron="* * * * * *")
        await sink.arrived(4)
        await asyncio.sleep(0.2)

    assert facts.of(Planned) or others.of(Planned)
    times = [row["scheduled_for"] for row in await execution_rows(connection, job_id)]
    assert len(times) >= 4
    assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))]
    assert times[0].microsecond == 0


async def test_the_database_is_asked_for_the_time_shortly_before_a_job_is_due(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[datetime] = []

    async def noted(db: Database, clock: DatabaseClock) -> None:
        await ask(db, clock)
        answers.append(clock.now())

    monkeypatch.setattr(runner, "ask", noted)
    async with instance():
        for seconds in (1, 2, 3):  # a busy machine may miss the moment of one
            due = datetime.now(UTC) + timedelta(seconds=seconds)
            await insert(connection, sink, run_at=due)
        await sink.arrived(3)

    assert answers


async def test_a_cron_that_cannot_be_planned_says_so_until_it_is_corrected(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        job_id = await insert(connection, sink, cron="0 0 31 2 *")
        await facts.seen(Planned, refused=1)
        refused = await job_row(connection, job_id)
        await connection.execute(
            "update tocsin.jobs set cron = '* * * * * *' where id = $1", job_id
        )
        await sink.arrived()

    assert refused["state"] == "invalid"
    assert "cron" in refused["plan_error"]
    assert (await job_row(connection, job_id))["plan_error"] is None


async def test_a_target_that_cannot_be_read_harms_no_other_job(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        bad = await insert_job(connection, target={"url": "ftp://nowhere", "metod": "GET"})
        await insert(connection, sink)
        await sink.arrived()
        await facts.seen(Settled, count=2)

    row = await job_row(connection, bad)
    assert row["state"] == "invalid"
    assert "target.metod" in row["plan_error"]
    assert await execution_rows(connection, bad) == []


UNSOUND: list[dict[str, Any]] = [
    {"misfire": "panic"},
    {"overlap": "panic"},
    {"dst_gap": "panic", "dst_overlap": "panic"},
    {"last_outcome": "panic"},
    {"every_seconds": -1},
    {"every_seconds": Decimal("NaN"), "run_at": None},
    {"cron": "panic", "run_at": None},
    {"run_at": None},
    {"attempt": -3},
    {"max_attempts": -1},
    {"backoff_seconds": Decimal("NaN")},
    {"timeout_seconds": Decimal("NaN")},
    {"timeout_seconds": -1},
    {"misfire_grace_seconds": Decimal("NaN")},
    {"max_catchup": -1},
    {"max_runs": -1},
    {"kind": "HTTP!"},
    {"target": []},
    {"metadata": [1]},
    {"name": ""},
]


@pytest.mark.parametrize("columns", UNSOUND, ids="-".join)
async def test_a_row_that_got_past_every_judgement_harms_no_other_job(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    columns: dict[str, Any],
) -> None:
    await connection.execute("alter table tocsin.jobs disable trigger user")
    now = datetime.now(UTC)
    planned = {"run_at": now, "next_run": now, "scheduled_for": now, "planned_at": now}
    bad = {"target": {"url": sink.url("/bad")}, "validated": True} | planned | columns
    await insert_job(connection, **bad)
    await connection.execute("alter table tocsin.jobs enable trigger user")
    async with instance() as (one, facts):
        good = await insert(connection, sink, "/good")
        await facts.seen(Settled, job_id=good, outcome="succeeded")
        again = await insert(connection, sink, "/good")
        await facts.seen(Settled, job_id=again, outcome="succeeded")

    assert one.stopping.is_set()


async def test_what_came_of_a_run_stays_on_record_though_its_schedule_cannot_be_read(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute("alter table tocsin.jobs disable trigger user")
    now = datetime.now(UTC)
    bad = {"cron": "99 99 * * *", "timezone": "Mars/Olympus", "planned_at": now}
    job_id = await insert_job(
        connection, target={"url": sink.url("/")}, next_run=now, scheduled_for=now, **bad
    )
    await connection.execute("alter table tocsin.jobs enable trigger user")
    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["status_code"]) == ("succeeded", 200)
    job = await connection.fetchrow("select plan_error from tocsin.jobs where id = $1", job_id)
    assert "cron: minute '99'" in job["plan_error"]


async def test_a_failure_is_retried_until_it_succeeds(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/flaky", reply(500), reply(503), reply(200))
    async with instance() as (_, facts):
        job_id = await insert(connection, sink, "/flaky", backoff_seconds=0.1)
        await facts.seen(Settled, outcome=Outcome.SUCCEEDED)

    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["attempt"], row["status_code"]) for row in rows] == [
        ("failed", 1, 500),
        ("failed", 2, 503),
        ("succeeded", 3, 200),
    ]
    requests = await sink.arrived(3)
    assert len({request.headers["idempotency-key"] for request in requests}) == 1
    assert [request.headers["tocsin-attempt"] for request in requests] == ["1", "2", "3"]


async def test_attempts_run_out(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/down", reply(500))
    async with instance() as (_, facts):
        job_id = await insert(connection, sink, "/down", backoff_seconds=0, max_attempts=3)
        await facts.seen(Settled, count=3)

    row = await job_row(connection, job_id)
    assert (row["state"], row["runs"], row["consecutive_failures"]) == ("failed", 1, 1)
    assert len(await execution_rows(connection, job_id)) == 3


async def test_a_target_that_hangs_is_timed_out(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/hang", hang)
    async with instance() as (_, facts):
        job_id = await insert(connection, sink, "/hang", timeout_seconds=0.3, max_attempts=1)
        await facts.seen(Settled, outcome=Outcome.TIMED_OUT)

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"]) == ("timed_out", "timeout")


@pytest.mark.parametrize("outcome", ["succeeded", "timed_out"])
async def test_history_counts_what_was_waited_for_a_connection_as_lateness(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
) -> None:
    """A job whose name is slow to be found is late, and its target no slower than it is."""
    resolve = Guard.find_addresses

    async def slowly(guard: Guard, host: str, port: int) -> list[str]:
        await asyncio.sleep(SLOW_SECONDS)
        return await resolve(guard, host, port)

    monkeypatch.setattr(Guard, "find_addresses", slowly)
    if outcome == "timed_out":
        sink.on("/x", hang)
    async with instance() as (_, facts):
        target = {"url": sink.url("/x", host="localhost")}
        job_id = await insert_job(
            connection, target=target, timeout_seconds=SLOW_SECONDS + 0.3, max_attempts=1
        )
        [told] = await facts.seen(Settled, job_id=job_id, outcome=outcome, within=20.0)

    [row] = await execution_rows(connection, job_id)
    [request] = sink.requests
    sent_at = datetime.fromtimestamp(request.wall, UTC)
    assert row["started_at"] - row["scheduled_for"] >= timedelta(seconds=SLOW_SECONDS)
    assert abs(row["started_at"] - sent_at) < timedelta(seconds=SLOW_SECONDS / 2)
    assert row["started_at"] <= row["finished_at"]
    assert told.lag_seconds is not None
    assert told.lag_seconds >= SLOW_SECONDS


async def test_what_was_never_sent_is_counted_from_the_start_of_its_attempt(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    async with instance() as (_, facts):
        target = {"url": "http://127.0.0.1:1/"}
        job_id = await insert_job(connection, target=target, max_attempts=1)
        await facts.seen(Settled, job_id=job_id, outcome="failed")

    [row] = await execution_rows(connection, job_id)
    assert row["reason"] == "connect"
    assert row["scheduled_for"] <= row["started_at"] <= row["finished_at"]


async def test_more_due_jobs_than_slots_are_all_executed(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance(concurrency=3) as (_, facts):
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at)
               select 'http', jsonb_build_object('url', $1::text), now()
               from generate_series(1, 50)""",
            sink.url("/many"),
        )
        await facts.seen(Settled, count=50)

    assert len(await sink.arrived(50)) == 50


async def test_a_lease_is_extended_while_its_execution_lasts(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/long", late(5.0, reply()))
    async with instance(lease_seconds=3) as (_, facts):
        job_id = await insert(connection, sink, "/long")
        await facts.seen(Started)
        async with instance(lease_seconds=3) as (_, others):
            await facts.seen(Settled)

    assert others.of(Started) == []
    assert [row["outcome"] for row in await execution_rows(connection, job_id)] == ["succeeded"]


async def test_a_drain_waits_for_executions(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/slow", late(0.5, reply()))
    async with instance() as (one, facts):
        job_id = await insert(connection, sink, "/slow")
        await facts.seen(Started)
        one.stop()
        await facts.seen(Settled)

    assert [row["outcome"] for row in await execution_rows(connection, job_id)] == ["succeeded"]


async def test_a_drain_that_takes_too_long_cancels_and_hands_over_at_once(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/stuck", hang, reply())
    async with instance(grace_seconds=0.2) as (one, facts):
        job_id = await insert(connection, sink, "/stuck")
        await facts.seen(Started)
        one.stop()
        await facts.seen(Settled, outcome=Outcome.CANCELLED)
    async with instance() as (_, facts):
        await facts.seen(Settled, outcome=Outcome.SUCCEEDED)

    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("cancelled", "drain"),
        ("succeeded", None),
    ]


async def test_a_sleeping_instance_asks_nothing(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        await insert(connection, sink, run_at=datetime.now(UTC) + timedelta(days=1))
        looks = len(facts.of(Looked))
        await asyncio.sleep(2.0)
        asked = len(facts.of(Looked)) - looks

    assert asked == 0


async def test_a_row_locked_by_somebody_costs_no_spin_and_runs_once_it_is_free(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        run_at = datetime.now(UTC) + timedelta(seconds=3)
        job_id = await insert(connection, sink, run_at=run_at)
        async with connection.transaction():
            await connection.execute("select from tocsin.jobs where id = $1 for update", job_id)
            await asyncio.sleep((run_at - datetime.now(UTC)).total_seconds() + 2.0)
            looks = len(facts.of(Looked))
            arrived_while_locked = len(sink.requests)
        await sink.arrived()

    assert arrived_while_locked == 0
    assert looks < 15


@pytest.mark.parametrize("instances", [4])
async def test_five_hundred_jobs_due_at_once_are_each_executed_exactly_once(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, instances: int
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(instances):
            await stack.enter_async_context(instance())
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at)
               select 'http', jsonb_build_object('url', $1::text || n), now() + interval '0.3 s'
               from generate_series(1, 500) n""",
            sink.url("/"),
        )
        requests = await sink.arrived(500)

    assert max(Counter(request.path for request in requests).values()) == 1
    left = "select count(*) from tocsin.jobs where next_run is not null or locked_until is not null"
    assert await connection.fetchval(left) == 0
    recorded = "select count(*) from tocsin.executions where outcome = 'succeeded'"
    assert await connection.fetchval(recorded) == 500


async def test_a_job_moved_far_into_the_past_by_hand_starts_at_once(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    now = await connection.fetchval("select now()")
    job_id = await insert_job(
        connection, target={"url": sink.url("/")}, run_at=now + timedelta(days=1)
    )
    async with instance() as (_, facts):
        await connection.execute(
            "update tocsin.jobs set next_run = now() - interval '1 year' where id = $1", job_id
        )
        await facts.seen(Started, within=1.0)


async def test_what_lies_below_the_floor_is_found_even_where_looks_at_everything_are_rare(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.scheduler.next_look.PACE", 1e9)
    now = await connection.fetchval("select now()")
    job_id = await insert_job(
        connection, target={"url": sink.url("/")}, run_at=now + timedelta(days=1)
    )
    async with instance(longest_sleep_seconds=1.0) as (_, facts):
        await connection.execute(
            "update tocsin.jobs set next_run = now() - interval '1 year' where id = $1", job_id
        )
        await facts.seen(Started, within=2.0)
