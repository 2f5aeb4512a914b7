"""Housekeeping meets readers, refusals and missing rights: no instance ends, and no job is late."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest

from tests.faults.conftest import Case
from tests.support.history import begin_day, finished_jobs, name_of, old_day, partitions
from tests.support.waiting import until

EXPIRED = 50_000
LATE_SECONDS = 1.0


async def expired_jobs(connection: asyncpg.Connection) -> int:
    count: int = await connection.fetchval(
        "select count(*) from tocsin.jobs where last_finished_at < now() - interval '30 days'"
    )
    return count


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A person who reads for long."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.alone
async def test_housekeeping_beside_a_reader_of_the_history_makes_no_job_late(
    case: Case, reader: asyncpg.Connection
) -> None:
    old = await old_day(case.connection, date(2020, 1, 1))
    await finished_jobs(case.connection, EXPIRED, days_ago=40)
    reading = reader.transaction(isolation="repeatable_read")
    await reading.start()
    await reader.fetch("select count(*) from tocsin.executions")

    async def swept() -> bool:
        return await expired_jobs(case.connection) == 0

    first = await case.processes.instance()
    async with case.load.running(per_second=20):
        with case.ledger.fault("a reader of executions, and expired jobs to delete"):
            await until(swept, "what has expired is gone", within=60)
            await first.says("upkeep_failed", step="drop_partitions")
    await case.verdict(late=LATE_SECONDS)
    assert old in await partitions(case.connection)

    await reading.rollback()
    assert await first.terminate() == 0
    await case.processes.instance()

    async def dropped() -> bool:
        return old not in await partitions(case.connection)

    await until(dropped, "the day is dropped once nobody reads it", within=60)


@pytest.mark.alone
async def test_what_refuses_housekeeping_ends_no_instance(case: Case) -> None:
    today = name_of(await begin_day(case.connection))
    viewed = await old_day(case.connection, date(2020, 1, 1))
    await finished_jobs(case.connection, 1000, days_ago=40)
    await case.connection.execute(
        f"""drop table tocsin.{today};
            create view january as select * from tocsin.{viewed};
            create table invoices (job_id uuid references tocsin.jobs (id));
            insert into invoices select id from tocsin.jobs limit 10;
            create function frozen() returns event_trigger language plpgsql
            as $$ begin raise 'no changes on Fridays'; end $$;
            create event trigger frozen on ddl_command_start execute function frozen()"""
    )
    instances = await case.processes.instances(2)

    async with case.load.running(per_second=20):
        with case.ledger.fault("a foreign key, a view and an event trigger"):

            async def tried() -> bool:
                return await expired_jobs(case.connection) == 10

            await until(tried, "all that may go is gone", within=60)
            await asyncio.sleep(1.0)
    await case.connection.execute("drop event trigger frozen")

    await case.verdict(late=LATE_SECONDS)
    assert all(one.process.returncode is None for one in instances)
    told = [line for one in instances for line in one.said("upkeep_failed")]
    assert {line["step"] for line in told} == {"add_partitions", "drop_partitions", "jobs"}
    assert await case.connection.fetchval("select count(*) from tocsin.executions_default") > 0
