"""People hold locks: only the jobs they locked wait, and no lease is believed without proof."""

import asyncio
import time

import asyncpg
import pytest

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job, job_row


@pytest.fixture
async def person(database_url: str) -> asyncpg.Connection:
    """A person in psql, who may forget to commit."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_a_transaction_that_holds_due_jobs_delays_no_other(
    case: Case, person: asyncpg.Connection
) -> None:
    await case.processes.instance(longest_sleep_seconds=30)
    held = {
        await case.load.one_off(case.connection, ahead_seconds=0.5): number for number in range(20)
    }
    async with case.load.running(per_second=20):
        with case.ledger.fault("row locks on due jobs"):
            async with person.transaction():
                await person.execute("select from tocsin.jobs for update")
                await case.moment(3.0)
                while_held = {one.key for one in case.ledger.deliveries}
                others = case.ledger.runs - held.keys()
            released = time.monotonic()

    await case.verdict()

    assert while_held.isdisjoint(held)
    assert len(while_held & others) > 15
    assert max(one.arrived for one in case.ledger.deliveries if one.key in held) - released < 1.5
    lateness = await case.connection.fetchval(
        """select max(extract(epoch from started_at - scheduled_for)) from tocsin.executions
           where job_id::text || ':' <> all ($1::text[])""",
        [f"{key.partition(':')[0]}:" for key in held],
    )
    assert lateness < 0.5


async def test_an_execution_whose_lease_cannot_be_extended_is_cut_off_before_it_ends(
    case: Case, person: asyncpg.Connection
) -> None:
    await case.processes.instances(2)
    case.sink.on("/long", case.ledger.receiver(30.0), case.ledger.receiver())
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)

    with case.ledger.fault("a row lock for longer than the lease"):
        async with person.transaction():
            await person.execute("select from tocsin.jobs where id = $1 for update", job_id)
            locked_until = (await job_row(case.connection, job_id))["locked_until"]
            await asyncio.sleep(LEASE_SECONDS + 1.0)
            over = await case.connection.fetchval("select clock_timestamp() > $1", locked_until)
            cut_off = case.ledger.deliveries[0].ended is not None

    assert (over, cut_off) == (True, True)
    findings = await case.verdict()
    assert findings.explained + findings.recorded == 1
    rows = await execution_rows(case.connection, job_id)
    assert rows[0]["outcome"] in {"cancelled", "lost"}
    assert rows[-1]["outcome"] == "succeeded"


async def test_a_job_inserted_in_a_long_transaction_starts_when_it_is_committed(
    case: Case, person: asyncpg.Connection
) -> None:
    await case.processes.instance(longest_sleep_seconds=30)
    case.sink.on("/due", case.ledger.receiver())

    async with person.transaction():
        await insert_job(person, target={"url": case.sink.url("/due")})
        await asyncio.sleep(2.0)
        before = len(case.sink.requests)
    committed = time.monotonic()
    [request] = await case.sink.arrived(1)

    assert before == 0
    assert request.monotonic - committed < 0.5


async def test_a_lock_on_the_whole_table_is_waited_out(
    case: Case, person: asyncpg.Connection
) -> None:
    await case.processes.instances(2)
    await case.load.crons(case.connection, 5)
    async with case.load.running(per_second=20):
        await case.moment(0.5)
        with case.ledger.fault("ACCESS EXCLUSIVE for longer than a lease", within=2.0):
            async with person.transaction():
                await person.execute("lock table tocsin.jobs in access exclusive mode")
                await asyncio.sleep(LEASE_SECONDS + 1.0)
        await asyncio.sleep(1.0)

    await case.verdict()


async def test_a_lock_timeout_of_the_role_only_makes_it_try_again(
    case: Case, person: asyncpg.Connection
) -> None:
    database = await case.connection.fetchval("select current_database()")
    await case.connection.execute(f"alter database {database} set lock_timeout = '100ms'")
    await case.connection.execute(f"alter database {database} set statement_timeout = '300ms'")
    await case.processes.instance()
    async with case.load.running(per_second=20):
        for _ in range(2):
            await case.moment(0.5)
            with case.ledger.fault("lock_timeout and statement_timeout"):
                async with person.transaction():
                    await person.execute("lock table tocsin.executions in access exclusive mode")
                    await asyncio.sleep(1.0)

    await case.verdict()
