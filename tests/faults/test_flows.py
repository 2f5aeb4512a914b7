"""Limits of flows hold while instances die and freeze, and bulk actions go on, as Postgres goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from app.devdb.cluster import Cluster
from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support import limited
from tests.support.cluster import kill_postgres
from tests.support.waiting import until

JOBS = 80
AT_ONCE = 3
RATE = 15
LEASES = """select count(*) from tocsin.jobs
            where flow_key = 'api' and locked_until > clock_timestamp()"""


@asynccontextmanager
async def counted(case: Case) -> AsyncIterator[list[int]]:
    """Count the leases of the flow again and again, each time at one instant."""
    counts: list[int] = []
    connection = await asyncpg.connect(case.database_url)

    async def count() -> None:
        while True:
            counts.append(await connection.fetchval(LEASES))
            await asyncio.sleep(0.003)

    counting = asyncio.create_task(count())
    try:
        yield counts
    finally:
        counting.cancel()
        await asyncio.wait({counting})
        await connection.close()


async def test_no_limit_of_a_flow_is_exceeded_though_instances_die_and_freeze(case: Case) -> None:
    await case.connection.execute(
        """insert into tocsin.flows (flow_key, max_concurrency, rate, period_seconds)
           values ('api', $1, $2, $3)""",
        AT_ONCE,
        RATE,
        Decimal(1),
    )
    case.sink.on("/api", *[case.ledger.receiver(lambda: case.chance.uniform(0.0, 0.3))] * 1000)
    await case.connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, flow_key)
           select 'http', jsonb_build_object('url', $1::text),
               now() - number * interval '1 ms', 'api'
           from generate_series(1, $2::integer) as number""",
        case.sink.url("/api"),
        JOBS,
    )

    async def all_succeeded() -> bool:
        many: int = await case.connection.fetchval(
            "select count(*) from tocsin.jobs where last_outcome = 'succeeded'"
        )
        return many == JOBS

    async with counted(case) as counts:
        running = await case.processes.instances(4)
        await case.sink.arrived(5)
        with case.ledger.fault("kill -9 of an instance"):
            await case.one_of(running).kill()
        await case.sink.arrived(15)
        with case.ledger.fault("SIGSTOP for longer than a lease"):
            frozen = case.one_of(running)
            frozen.freeze()
            await asyncio.sleep(LEASE_SECONDS + 1.0)
            frozen.thaw()
        await until(all_succeeded, "all jobs have succeeded", within=60.0)

    starts = sorted(
        row["started_at"]
        for row in await case.connection.fetch("select started_at from tocsin.executions")
    )
    second = timedelta(seconds=1)
    assert max(counts) == AT_ONCE
    assert max(sum(one <= other < one + second for other in starts) for one in starts) <= RATE


class TestWithAServerOfItsOwn:
    @pytest.fixture
    def database_url(self, own_postgres: Cluster) -> str:
        return own_postgres.server().url

    async def test_postgres_is_away_for_longer_than_a_lease_amid_a_full_flow_and_bulk_actions(
        self, case: Case, own_postgres: Cluster
    ) -> None:
        await case.processes.instances(4)
        busy = await limited.begin(case.connection, case.load, case.sink)
        await case.sink.arrived(20)
        with case.ledger.fault("kill -9 of Postgres amid a full flow and bulk actions", within=10):
            kill_postgres(own_postgres)
            await asyncio.sleep(LEASE_SECONDS + 1.0)
            await asyncio.to_thread(own_postgres.start, 0)

        await case.verdict(within=60)
        connection = await asyncpg.connect(case.database_url)
        try:
            await limited.judge(connection, busy, case.ledger)
        finally:
            await connection.close()
