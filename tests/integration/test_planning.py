"""Recurring jobs that are typed in SQL, planned by an instance that runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic

import asyncpg
import pytest

from app.core.facts import Connected, Fact, PutAside, Settled
from app.db import Database
from app.scheduler.isolation import Isolation
from app.scheduler.planner import Planning
from app.telemetry import Observers
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

MANY = 2_000


async def test_an_interval_runs_at_exact_instants_after_its_insert(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance() as (_, facts):
        await facts.seen(Connected)
        job_id = await insert_job(connection, target={"url": sink.url("/")}, every_seconds=0.5)

        async def ran() -> bool:
            return bool(await execution_rows(connection, job_id))

        await until(ran, "the interval ran", within=30.0)

    created_at = (await job_row(connection, job_id))["created_at"]
    first = (await execution_rows(connection, job_id))[0]
    assert first["scheduled_for"] == created_at + timedelta(seconds=0.5)
    assert first["started_at"] >= first["scheduled_for"]


async def test_an_interval_that_fell_due_before_any_instance_was_there_runs_late(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    job_id = await insert_job(
        connection, target={"url": sink.url("/")}, every_seconds=0.2, max_runs=1
    )
    await connection.execute("select pg_sleep(0.5)")

    async with instance():

        async def ran() -> bool:
            return bool(await execution_rows(connection, job_id))

        await until(ran, "the run was made up for", within=30.0)

    [row] = await execution_rows(connection, job_id)
    created_at = (await job_row(connection, job_id))["created_at"]
    assert row["outcome"] == "succeeded"
    assert row["scheduled_for"] >= created_at + timedelta(seconds=0.2)


SUPPRESSING = """
    create function public.suppress() returns trigger language plpgsql as
    $$ begin if new.name = 'guilty' {and_more} then return null; end if; return new; end $$;
    create trigger suppress before update on tocsin.jobs
    for each row execute function public.suppress()"""


@pytest.mark.parametrize("and_more", ["", "and new.plan_error is null"], ids=["at all", "its plan"])
async def test_a_job_whose_plan_a_trigger_suppresses_says_so(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, and_more: str
) -> None:
    target = {"url": sink.url("/")}
    async with instance() as (_, facts):
        await facts.seen(Connected)
        await connection.execute(SUPPRESSING.format(and_more=and_more))
        guilty = await insert_job(connection, name="guilty", target=target, every_seconds=0.2)
        other = await insert_job(connection, name="other", target=target, every_seconds=0.2)

        await facts.seen(Settled, job_id=other)
        [told] = await facts.seen(PutAside, job_id=guilty)

    row = await job_row(connection, guilty)
    assert told.written == bool(and_more) == (row["plan_error"] is not None)
    assert told.error.startswith("cannot be planned: a trigger on tocsin.jobs keeps the row")
    assert "change the trigger" in told.error


@pytest.mark.parametrize("and_more", ["", "and new.plan_error is null"], ids=["at all", "its plan"])
async def test_a_job_that_two_steps_come_upon_at_once_is_told_of_once(
    connection: asyncpg.Connection, db: Database, and_more: str
) -> None:
    await connection.execute(SUPPRESSING.format(and_more=and_more))
    guilty = await insert_job(connection, name="guilty", every_seconds=60)
    facts: list[Fact] = []
    isolation = Isolation(
        db, Observers(facts.append), instance="me", lease_seconds=60.0, clock=monotonic
    )
    planning = Planning(isolation, db, now=lambda: datetime.now(UTC))

    walk, newer = await asyncio.gather(
        planning.take(after=None, aside=[]), planning.take_lately(newer=None, aside=[])
    )
    later = await planning.take(after=None, aside=[])

    told = [one.job_id for one in facts if isinstance(one, PutAside)]
    assert walk.read == newer.read == 1
    assert told == [guilty] * (1 if and_more else 1 + later.read)


async def test_what_many_inserts_leave_to_plan_keeps_no_due_job_waiting(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance() as (_, facts):
        await facts.seen(Connected)
        await connection.execute(
            """insert into tocsin.jobs (kind, target, every_seconds)
               select 'http', '{"url": "http://127.0.0.1:9/"}', 3600
               from generate_series(1, $1::integer)""",
            MANY,
        )
        due = await insert_job(connection, target={"url": sink.url("/")})

        async def all_planned_and_ran() -> bool:
            left = await connection.fetchval(
                "select count(*) from tocsin.jobs where planned_at is null"
            )
            return left == 0 and bool(await execution_rows(connection, due))

        await until(all_planned_and_ran, "all are planned and the due job ran", within=120.0)

    last_plan = await connection.fetchval(
        "select max(planned_at) from tocsin.jobs where id <> $1", due
    )
    [row] = await execution_rows(connection, due)
    assert row["started_at"] < last_plan
