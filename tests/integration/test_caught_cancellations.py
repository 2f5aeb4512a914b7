"""A trigger of a user's that catches its cancellation, and goes on, costs its own job alone."""

import asyncpg
import pytest

from app.core.facts import PutAside, Settled
from tests.integration.test_crowds import MAX_LATE_SECONDS, come_and_go, latest, trigger
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

GOES_ON = """loop
    begin perform pg_sleep(60); exception when query_canceled then null; end;
end loop"""
STATEMENTS = {
    "the claim": "new.execution_id is not null and old.execution_id is null",
    "the settlement": "new.execution_id is null and old.execution_id is not null",
}
BYSTANDERS = 40


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.quiet
@pytest.mark.timeout(180)
async def test_a_trigger_that_catches_its_cancellation_makes_nobody_late(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, statement: str
) -> None:
    await trigger(
        connection, f"if new.tags = '{{guilty}}' and {STATEMENTS[statement]} then {GOES_ON}; end if"
    )
    async with instance(longest_sleep_seconds=5, lease_seconds=30) as (_, facts):
        first = await come_and_go(connection, sink, 5)
        guilty = await insert_job(connection, target={"url": sink.url("/guilty")}, tags=["guilty"])
        jobs = await come_and_go(connection, sink, BYSTANDERS)

        assert await latest(connection, first + jobs, facts) < MAX_LATE_SECONDS

        told = await facts.seen(PutAside, job_id=guilty, within=60)
        assert "query_canceled" in told[0].error
        assert not facts.of(Settled, job_id=guilty)

        async def nothing_goes_on() -> bool:
            return not await connection.fetchval(
                """select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event = 'PgSleep'
                     and query_start < now() - interval '10 seconds'"""
            )

        await until(nothing_goes_on, "no session sleeps for ever", within=30)
        await connection.execute(
            "drop trigger mine on tocsin.jobs"
        )  # so that the last result is taken
