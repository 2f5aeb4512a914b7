"""However many jobs cannot be claimed, and however long each takes, others are in time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Disconnected, Faulted, PutAside, Settled
from app.core.instance_health import RestingJobs
from app.db import Database
from app.db.connections import AT_ONCE
from app.db.isolating import run_by_parts
from app.db.resting import list_resting
from app.errors import StatementCancelled
from app.scheduler import isolation, look_recovery, resting, sweep
from app.scheduler.instance import Instance
from app.scheduler.isolation import MAX_RESTING, REMEDY
from tests.support.builders import insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.recorder import Recorder
from tests.support.sink import Sink
from tests.support.waiting import until

CROWD = 3 * MAX_RESTING
MAX_LATE_SECONDS = 2.0
"""On a busy machine; behind a crowd, or a trigger that sleeps, jobs would wait for ever."""
BYSTANDERS = 40
PAUSE_SECONDS = 0.05


async def trigger(connection: asyncpg.Connection, does: str) -> None:
    """Put a trigger of a user's on the jobs."""
    await connection.execute(
        f"""create or replace function public.mine() returns trigger language plpgsql as
            $$ begin {does}; return new; end $$;
            create trigger mine before update on tocsin.jobs
            for each row execute function public.mine()"""
    )


async def crowd(
    connection: asyncpg.Connection, sink: Sink, many: int, *, due: str = "now()", **set_to: str
) -> None:
    """Insert jobs with the tag `guilty`, with columns that no trigger and no constraint judges."""
    columns = "".join(f", {name}" for name in set_to)
    values = "".join(f", {value}" for value in set_to.values())
    await connection.execute(
        f"""begin;
            alter table tocsin.jobs disable trigger all;
            insert into tocsin.jobs (
                kind, target, tags, run_at, next_run, scheduled_for, planned_at,
                unchecked {columns})
            select 'http', '{{"url": "{sink.url("/guilty")}"}}', '{{guilty}}', due, due, due, due,
                false {values}
            from generate_series(1, {many}) as number, lateral (select {due} as due) as at;
            alter table tocsin.jobs enable trigger all;
            commit;
            notify tocsin_jobs"""
    )


async def come_and_go(connection: asyncpg.Connection, sink: Sink, many: int) -> list[UUID]:
    """Insert jobs that are due at once, twenty a second."""
    jobs = []
    for _ in range(many):
        jobs.append(await insert_job(connection, target={"url": sink.url("/")}))
        await asyncio.sleep(PAUSE_SECONDS)
    return jobs


async def latest(connection: asyncpg.Connection, jobs: list[UUID], facts: Recorder) -> float:
    """Wait until the jobs have run; return the seconds by which the latest was late."""
    wanted = set(jobs)
    await facts.until(
        lambda: wanted <= {one.job_id for one in facts.of(Settled, outcome="succeeded")}, within=60
    )
    late: float = await connection.fetchval(
        """select max(extract(epoch from e.started_at - j.run_at))::float8
           from tocsin.executions e join tocsin.jobs j on j.id = e.job_id where j.id = any($1)""",
        jobs,
    )
    return late


@pytest.mark.parametrize("concurrency", [2, 50])
@pytest.mark.parametrize("due", ["now()", "now() - number * interval '1 millisecond'"])
@pytest.mark.alone
async def test_a_crowd_whose_claims_a_trigger_suppresses_makes_nobody_late(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    due: str,
    concurrency: int,
) -> None:
    await trigger(connection, "if new.tags = '{guilty}' then return null; end if")
    async with instance(longest_sleep_seconds=5, concurrency=concurrency) as (_, facts):
        await crowd(connection, sink, CROWD, due=due)
        jobs = await come_and_go(connection, sink, BYSTANDERS)
        assert await latest(connection, jobs, facts) < MAX_LATE_SECONDS

    assert len(sink.requests) == BYSTANDERS


async def behind_a_crowd(connection: asyncpg.Connection, sink: Sink, one: Instance) -> None:
    """Have looks begin behind a crowd."""
    await trigger(connection, "if new.tags = '{guilty}' then return null; end if")
    await crowd(connection, sink, CROWD, due="now() - number * interval '1 millisecond'")

    async def begun() -> bool:
        sweep = one.sweep
        return sweep.behind is not None and sweep.walk_at < float("inf")

    await until(begun, "looks begin behind the crowd", within=30)


@pytest.mark.alone
async def test_what_is_moved_or_comes_late_among_a_crowd_is_found(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance(longest_sleep_seconds=5) as (one, facts):
        await behind_a_crowd(connection, sink, one)

        jobs = [
            await insert_job(connection, target={"url": sink.url("/")}, run_at=due)
            for due in await connection.fetchrow(
                "select now() - interval '1 s', now() - interval '1 h', now() - interval '1 ms'"
            )
        ]
        for job_id in jobs:
            await facts.seen(Settled, job_id=job_id, within=MAX_LATE_SECONDS)


async def test_what_was_locked_when_a_crowd_was_walked_over_is_found_once_it_is_free(
    connection: asyncpg.Connection, database_url: str, instance: StartInstance, sink: Sink
) -> None:
    locked = await insert_job(
        connection, target={"url": sink.url("/")}, paused_at=datetime.now(UTC)
    )
    other = await asyncpg.connect(database_url)
    try:
        async with instance(longest_sleep_seconds=5) as (one, facts):
            await connection.execute("update tocsin.jobs set paused_at = null")
            transaction = other.transaction()
            await transaction.start()
            await other.execute("select from tocsin.jobs where id = $1 for update", locked)
            await behind_a_crowd(connection, sink, one)
            await transaction.rollback()
            await facts.seen(Settled, job_id=locked)
    finally:
        await other.close()


async def test_a_crowd_runs_once_its_trigger_is_gone(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "REST_SECONDS", 0.5)
    monkeypatch.setattr(isolation, "REST_SECONDS", 0.5)
    async with instance(longest_sleep_seconds=5) as (one, facts):
        await behind_a_crowd(connection, sink, one)
        await connection.execute("drop trigger mine on tocsin.jobs")
        await facts.seen(Settled, count=CROWD, outcome="succeeded", within=50)

        async def usual() -> bool:
            return one.sweep.behind is None and not one.isolation.aside()

        await until(usual, "looks begin at the left end again")

    assert len(sink.requests) == CROWD


@pytest.mark.parametrize("many", [1, 3])
@pytest.mark.quiet
async def test_a_job_whose_trigger_sleeps_makes_nobody_late_and_is_put_aside(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    many: int,
) -> None:
    monkeypatch.setattr(isolation, "SLOW_RESTS", (0.2, 0.2, 0.2))
    await trigger(
        connection,
        """if new.tags = '{guilty}' and new.plan_error is null then perform pg_sleep(60); end if""",
    )
    async with instance(longest_sleep_seconds=5) as (_, facts):
        await crowd(connection, sink, many)
        jobs = await come_and_go(connection, sink, BYSTANDERS)
        assert await latest(connection, jobs, facts) < MAX_LATE_SECONDS
        told = await facts.seen(PutAside, count=many, written=True, within=50)
        assert not facts.of(Disconnected)

    row = await job_row(connection, told[0].job_id)
    assert row["plan_error"].startswith(
        "cannot be claimed: it takes too long in function public.mine: "
    )


async def test_a_look_that_takes_long_is_interrupted_only_where_somebody_has_a_trigger(
    connection: asyncpg.Connection,
    database_url: str,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(look_recovery, "LOOK_SECONDS", 0.1)
    other = await asyncpg.connect(database_url)
    try:
        async with instance(longest_sleep_seconds=0.2) as (_, facts):
            await crowd(connection, sink, 1)
            await facts.seen(Settled)
            async with other.transaction():
                await other.execute("lock table tocsin.jobs")
                await asyncio.sleep(1)  # for several times as long as a look may take
            await crowd(connection, sink, 1)
            await facts.seen(Settled, count=2)
            assert not facts.of(Faulted)

            await trigger(connection, "return new")
            async with other.transaction():
                await other.execute("lock table tocsin.jobs")
                await facts.seen(Faulted, where="look", within=30)
            await crowd(connection, sink, 1)
            await facts.seen(Settled, count=3)
    finally:
        await other.close()


async def test_a_trigger_that_is_slow_for_every_job_costs_none_of_them_its_run(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    await trigger(connection, "if new.execution_id is not null then perform pg_sleep(0.06); end if")
    async with instance(longest_sleep_seconds=5) as (_, facts):
        await crowd(connection, sink, 30)
        await facts.seen(Settled, count=30, outcome="succeeded", within=50)
        assert not facts.of(PutAside)


@pytest.mark.quiet
async def test_a_log_of_a_user_s_that_is_locked_costs_no_job_its_run(
    connection: asyncpg.Connection,
    database_url: str,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolation, "SLOW_RESTS", (0.2, 0.2, 0.2))
    await connection.execute(
        "create table public.log (job_id uuid); grant insert on public.log to public"
    )
    await trigger(
        connection, "if new.tags = '{guilty}' then insert into public.log values (new.id); end if"
    )
    other = await asyncpg.connect(database_url)
    try:
        async with instance(longest_sleep_seconds=5) as (one, facts):
            async with other.transaction():
                await other.execute("lock table public.log")
                await crowd(connection, sink, 1)
                jobs = await come_and_go(connection, sink, BYSTANDERS)
                assert await latest(connection, jobs, facts) < MAX_LATE_SECONDS
                await facts.seen(Faulted, where="isolate", count=3, within=30)
            await facts.seen(Settled, count=BYSTANDERS + 1, outcome="succeeded", within=30)
            assert not facts.of(PutAside, written=True)
            assert not one.isolation.aside()
    finally:
        await other.close()


async def test_what_an_instance_leaves_alone_is_on_record_as_long_as_it_does(
    connection: asyncpg.Connection,
    database_url: str,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolation, "REST_SECONDS", 1.0)
    monkeypatch.setattr(resting, "TELL_SECONDS", 0.1)
    await trigger(connection, "if new.tags = '{guilty}' then raise 'never'; end if")
    async with Database.connect(database_url, application_name="t") as db:

        async def told() -> list[RestingJobs]:
            return await list_resting(db)

        async def forgotten() -> bool:
            return not await told()

        async with instance(longest_sleep_seconds=5) as (one, facts):
            await crowd(connection, sink, 3)
            await until(told, "the jobs are on record")
            [record] = await told()
            await connection.execute("drop trigger mine on tocsin.jobs")
            await facts.seen(Settled, count=3, outcome="succeeded", within=30)
            await until(forgotten, "nothing is on record any more")

    assert (record.instance, record.jobs) == (one.name, 3)
    assert record.problem == f"cannot be claimed: never: {REMEDY}"


@pytest.mark.parametrize("many", [1, 10, 50])
@pytest.mark.alone
async def test_a_burst_at_which_looks_fail_makes_nobody_late(
    connection: asyncpg.Connection,
    database_url: str,
    instance: StartInstance,
    sink: Sink,
    many: int,
) -> None:
    await connection.execute(
        """alter table tocsin.jobs drop constraint jobs_sound;
           alter table tocsin.jobs drop constraint jobs_within_range"""
    )
    other = await asyncpg.connect(database_url)
    try:
        async with instance(longest_sleep_seconds=5) as (_, facts):
            coming = asyncio.create_task(come_and_go(connection, sink, BYSTANDERS))
            await facts.seen(Settled)
            await crowd(other, sink, many, backoff_seconds="1e-400")
            assert await latest(connection, await coming, facts) < MAX_LATE_SECONDS
            await facts.seen(PutAside, count=many, written=True, within=30)
    finally:
        await other.close()


async def test_parts_find_each_of_the_guilty_and_spare_the_others() -> None:
    guilty, done, refused, statements, at_once, most = {3, 4, 77}, [], [], 0, 0, 0

    async def run(items: Sequence[int]) -> None:
        nonlocal statements, at_once, most
        statements += 1
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        if guilty & set(items):
            raise ValueError
        done.extend(items)

    await run_by_parts(run, range(100), refused=lambda item, _: refused.append(item))

    assert (set(done), set(refused)) == (set(range(100)) - guilty, guilty)
    assert len(done) == 97
    assert statements < 50
    assert most == AT_ONCE


async def test_where_most_are_guilty_parts_take_little_more_than_a_statement_for_each() -> None:
    guilty, refused, statements = set(range(50)), set(), 0

    async def run(items: Sequence[int]) -> None:
        nonlocal statements
        statements += 1
        if guilty & set(items):
            raise ValueError

    await run_by_parts(run, range(70), refused=lambda item, _: refused.add(item))

    assert refused == guilty
    assert statements < 90


async def test_while_one_statement_waits_parts_go_on() -> None:
    done: list[int] = []

    async def run(items: Sequence[int]) -> None:
        if 7 in items:
            async with asyncio.timeout(20):
                while len(done) < len(range(8)) - 1:  # noqa: ASYNC110 - as long as the others take
                    await asyncio.sleep(0)
            raise StatementCancelled
        done.extend(items)

    await run_by_parts(run, range(8), refused=lambda *_: None, parts=8)

    assert sorted(done) == [0, 1, 2, 3, 4, 5, 6]


async def test_a_database_that_is_slow_for_all_is_no_row_s_fault() -> None:
    async def run(_: Sequence[int]) -> None:
        raise StatementCancelled

    with pytest.raises(StatementCancelled):
        await run_by_parts(run, range(500), refused=lambda *_: pytest.fail("blamed"), parts=8)
