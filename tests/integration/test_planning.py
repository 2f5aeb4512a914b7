"""Recurring jobs that are typed in SQL, planned by an instance that runs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Connected, Fact, Faulted, PutAside, Settled
from app.db import Database
from app.scheduler.isolation import SLOW_RESTS, SLOW_TRIES, Isolation
from app.scheduler.planner import Planning
from app.scheduler.pools import PLAN_SECONDS
from app.telemetry import Observers
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.recorder import Recorder
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

    await asyncio.gather(
        planning.take(after=None, aside=[]), planning.take_lately(newer=None, aside=[])
    )
    later = await planning.take(after=None, aside=[])

    told = [one.job_id for one in facts if isinstance(one, PutAside)]
    assert told == [guilty] * (1 if and_more else 1 + later.read)


async def test_a_job_that_another_step_is_putting_aside_is_left_to_that_step(
    connection: asyncpg.Connection, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute(SUPPRESSING.format(and_more="and new.plan_error is null"))
    guilty = await insert_job(connection, name="guilty", every_seconds=60)
    recorder = Recorder()
    isolation = Isolation(
        db, Observers(recorder), instance="me", lease_seconds=60.0, clock=monotonic
    )
    planning = Planning(isolation, db, now=lambda: datetime.now(UTC))
    put_aside, allowed = isolation.put_aside_waiting, asyncio.Event()
    reached: asyncio.Queue[None] = asyncio.Queue()

    async def wait(*jobs: Any, **given: Any) -> set[UUID]:  # noqa: ANN401
        reached.put_nowait(None)
        await allowed.wait()
        return await put_aside(*jobs, **given)

    monkeypatch.setattr(isolation, "put_aside_waiting", wait)
    first = asyncio.create_task(planning.take(after=None, aside=[]))
    await reached.get()
    second = asyncio.create_task(planning.take(after=None, aside=[]))
    await reached.get()
    allowed.set()

    assert [step.read for step in await asyncio.gather(first, second)] == [1, 1]
    assert [one.job_id for one in recorder.facts if isinstance(one, PutAside)] == [guilty]


BY_THE_SERVER = """
    alter table tocsin.jobs add constraint slow
    check (name <> 'slow' or planned_at is null or pg_sleep(60)::text is null) not valid"""
BY_A_TRIGGER = """
    create function public.mine() returns trigger language plpgsql as
    $$ begin
        if new.name = 'slow' and new.plan_error is null then perform pg_sleep(60); end if;
        return new;
    end $$;
    create trigger mine before update on tocsin.jobs
    for each row execute function public.mine()"""
AT_ONCE_AGAIN = """
    alter table tocsin.jobs drop constraint if exists slow;
    drop trigger if exists mine on tocsin.jobs"""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def planning(database_url: str, db: Database, recorder: Recorder) -> AsyncIterator[Planning]:
    """Give the work of an instance, with its limit for a statement."""
    isolation = Isolation(
        db, Observers(recorder), instance="me", lease_seconds=60.0, clock=monotonic
    )
    quick = Database.connect(database_url, application_name="quick", limit_seconds=PLAN_SECONDS)
    async with quick as pool:
        yield Planning(isolation, pool, now=lambda: datetime.now(UTC))


@pytest.mark.parametrize("slow", [BY_THE_SERVER, BY_A_TRIGGER], ids=["the server", "a trigger"])
async def test_a_moment_in_which_postgres_is_slow_condemns_no_job(
    connection: asyncpg.Connection, planning: Planning, slow: str
) -> None:
    await connection.execute(slow)
    ids = [await insert_job(connection, name=name, every_seconds=60) for name in ("slow", "other")]

    steps = [await planning.take(after=None, aside=[]) for _ in range(SLOW_TRIES - 1)]
    other = await job_row(connection, ids[1])
    await connection.execute(AT_ONCE_AGAIN)
    await planning.take(after=None, aside=[])

    assert [step.left[ids[0]] for step in steps] == [*SLOW_RESTS]
    assert other["next_run"] is not None
    assert (await job_row(connection, ids[0]))["next_run"] is not None


@pytest.mark.parametrize("slow", [BY_THE_SERVER, BY_A_TRIGGER], ids=["the server", "a trigger"])
async def test_a_job_that_is_slow_to_plan_again_and_again_says_so(
    connection: asyncpg.Connection, planning: Planning, recorder: Recorder, slow: str
) -> None:
    """Only a trigger of a user's is to blame for good: Postgres may be slow for any time."""
    await connection.execute(slow)
    job_id = await insert_job(connection, name="slow", every_seconds=60)

    for _ in range(SLOW_TRIES):
        step = await planning.take(after=None, aside=[])

    plan_error = (await job_row(connection, job_id))["plan_error"]
    told = [one.error for one in recorder.facts if isinstance(one, PutAside | Faulted)]
    assert len(told) == 1
    assert "cannot be planned: it takes too long" in told[0]
    assert str(job_id) in told[0] or plan_error in told
    if slow is BY_A_TRIGGER:
        assert "in function public.mine" in plan_error
    else:
        assert plan_error is None
        assert [*step.left] == [job_id]


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
