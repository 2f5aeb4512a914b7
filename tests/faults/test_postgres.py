"""Postgres dies, restarts, throws connections out, refuses: work resumes and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from app.devdb.cluster import Cluster
from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job
from tests.support.cluster import kill_postgres
from tests.support.proxy import Cut

RESUMED_SECONDS = 3.0
"""The longest until work goes on once Postgres answers again."""
OURS = "application_name like 'tocsin %'"


@pytest.fixture
def database_url(own_postgres: Cluster) -> str:
    """Have a server to oneself."""
    return own_postgres.server().url


@asynccontextmanager
async def ordering(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def killed(cluster: Cluster) -> None:
    kill_postgres(cluster)
    await asyncio.to_thread(cluster.start, 0)


async def restarted(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.stop)
    await asyncio.to_thread(cluster.start, 0)


async def away(cluster: Cluster) -> None:
    kill_postgres(cluster)
    await asyncio.sleep(LEASE_SECONDS + 1.0)
    await asyncio.to_thread(cluster.start, 0)


@pytest.mark.parametrize("happens", [killed, restarted, away])
async def test_postgres_is(
    case: Case, happens: Callable[[Cluster], Awaitable[None]], own_postgres: Cluster
) -> None:
    await case.processes.instances(2)
    async with ordering(case.database_url) as connection:
        await case.load.crons(connection, 5)
    async with case.load.running(per_second=20):
        for _ in range(2):
            await case.moment(1.0)
            with case.ledger.fault(f"Postgres {happens.__name__}", within=RESUMED_SECONDS):
                await happens(own_postgres)
        await asyncio.sleep(1.0)

    findings = await case.verdict()

    assert findings.promised > 30


async def test_every_connection_is_terminated_again_and_again(case: Case) -> None:
    await case.processes.instances(2)
    async with ordering(case.database_url) as connection:
        await case.load.crons(connection, 5)
        async with case.load.running(per_second=20):
            for _ in range(5):
                await case.moment(0.7)
                with case.ledger.fault("pg_terminate_backend of every connection", within=2.0):
                    await connection.execute(
                        f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS}"
                    )

    await case.verdict()


async def test_no_connection_is_left_for_instances(case: Case, own_postgres: Cluster) -> None:
    async with ordering(case.database_url) as connection:
        await connection.execute("alter system set max_connections = 20")
    await restarted(own_postgres)
    await case.processes.instance()
    async with AsyncExitStack() as stack, case.load.running(per_second=10):
        await case.moment(0.7)
        with case.ledger.fault("max_connections used up", within=RESUMED_SECONDS):
            greedy = await hoard(stack, case.database_url)
            await greedy[0].execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS}"
            )
            greedy += await hoard(stack, case.database_url)
            await asyncio.sleep(2.0)
            for one in greedy:
                await one.close()
        await asyncio.sleep(1.0)

    await case.verdict()


async def hoard(stack: AsyncExitStack, database_url: str) -> list[asyncpg.Connection]:
    """Take every connection that there is."""
    taken: list[asyncpg.Connection] = []
    while True:
        try:
            taken.append(await asyncpg.connect(database_url))
        except asyncpg.TooManyConnectionsError:
            return taken
        stack.push_async_callback(taken[-1].close)


@pytest.mark.parametrize("when", list(Cut))
@pytest.mark.parametrize("statement", ["claims.look", "claims.settle", "leases.extend"])
async def test_the_connection_is_cut_at_the_very_moment_of(
    proxied: Case, statement: str, when: Cut
) -> None:
    proxied.sink.on("/work", proxied.ledger.receiver(0.7 if statement == "leases.extend" else 0.05))
    instance = await proxied.processes.instance()
    async with ordering(proxied.database_url) as connection:
        await proxied.load.crons(connection, 3)
    async with proxied.load.running(per_second=15):
        for _ in range(4):
            await proxied.moment(0.3)
            with proxied.ledger.fault(f"cut {when} {statement}"):
                trap = proxied.proxy.cut_at(statement, when)
                async with asyncio.timeout(10):
                    await trap.sprung.wait()

    findings = await proxied.verdict()

    assert (findings.explained, findings.recorded) == (0, 0)
    assert instance.said("lease_lost") == []


async def test_a_result_that_postgres_could_not_take_at_once_is_kept_until_it_can(
    case: Case, own_postgres: Cluster
) -> None:
    instance = await case.processes.instance(lease_seconds=30)
    case.sink.on("/slow", case.ledger.receiver(1.0))
    async with ordering(case.database_url) as connection:
        job_id = await insert_job(connection, target={"url": case.sink.url("/slow")})
    await case.sink.arrived(1)

    kill_postgres(own_postgres)
    await asyncio.sleep(2.0)
    await asyncio.to_thread(own_postgres.start, 0)
    await instance.says("settled", outcome="succeeded")

    async with ordering(case.database_url) as connection:
        rows = await execution_rows(connection, job_id)
    assert [row["outcome"] for row in rows] == ["succeeded"]
    assert len(case.ledger.deliveries) == 1


async def test_a_standby_is_left_alone_until_it_is_promoted(case: Case) -> None:
    await case.processes.instance()
    async with ordering(case.database_url) as connection, case.load.running(per_second=10):
        await case.moment(0.5)
        with case.ledger.fault("read-only for a while", within=RESUMED_SECONDS):
            await connection.execute("alter system set default_transaction_read_only = on")
            await connection.execute("select pg_reload_conf()")
            await asyncio.sleep(2.0)
            await connection.execute("set default_transaction_read_only = off")
            await connection.execute("alter system reset default_transaction_read_only")
            await connection.execute("select pg_reload_conf()")
        await asyncio.sleep(1.0)

    await case.verdict()


async def test_an_outage_makes_neither_a_storm_of_connections_nor_of_log_lines(
    proxied: Case,
) -> None:
    instance = await proxied.processes.instance()
    before, lines = proxied.proxy.accepted, len(instance.lines)

    proxied.proxy.refusing = True
    proxied.proxy.cut_all()
    await asyncio.sleep(5.0)

    assert proxied.proxy.accepted - before < 30
    assert len(instance.lines) - lines < 40


async def test_a_schema_change_under_load_stops_nobody(case: Case) -> None:
    await case.processes.instance()
    async with ordering(case.database_url) as connection, case.load.running(per_second=15):
        for number in range(3):
            await case.moment(0.5)
            with case.ledger.fault("ALTER TABLE under load"):
                await connection.execute(f"alter table tocsin.jobs add column later_{number} text")
                await connection.execute("reindex index tocsin.jobs_claimable")

    findings = await case.verdict()

    assert (findings.explained, findings.recorded) == (0, 0)
