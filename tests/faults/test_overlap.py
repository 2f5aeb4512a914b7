"""Runs that come due while one is unfinished: under faults none is lost, and no two overlap."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from app.devdb.cluster import Cluster
from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job
from tests.support.cluster import Process, kill_postgres
from tests.support.overlaps import busy_crons, come_to_rest, overlapping, reasons_of_missed

TAKEN_OVER_SECONDS = LEASE_SECONDS + 1.0
OF_OVERLAP = {
    "skip": {"missed"},
    "buffer_one": {"missed"},
    "cancel_other": {"cancelled"},
}


async def judged(case: Case, connection: asyncpg.Connection) -> None:
    """Expect that no two runs of a job overlapped, and that each policy had something to do."""
    assert await overlapping(connection, case.ledger) == []
    found = await reasons_of_missed(connection)
    for policy, outcomes in OF_OVERLAP.items():
        assert outcomes <= found[policy], policy


async def test_holders_of_runs_that_overlap_are_killed(case: Case) -> None:
    running = await case.processes.instances(2)
    await busy_crons(case.connection, case.load, case.sink)
    async with case.load.running(per_second=5):
        for _ in range(2):
            await case.moment(4.0)
            victim = case.one_of(running)
            with case.ledger.fault(
                "kill -9 of a holder of runs that overlap", within=TAKEN_OVER_SECONDS
            ):
                await victim.kill()
            running.append(await case.processes.instance())
        await asyncio.sleep(LEASE_SECONDS + 1.0)

    await come_to_rest(case.connection)
    await case.verdict(within=30)
    await judged(case, case.connection)


async def test_a_holder_of_runs_that_overlap_freezes(case: Case) -> None:
    running = await case.processes.instances(2)
    await busy_crons(case.connection, case.load, case.sink)
    async with case.load.running(per_second=5):
        await case.moment(3.0)
        with case.ledger.fault("SIGSTOP of a holder of runs that overlap"):
            running[0].freeze()
            await asyncio.sleep(LEASE_SECONDS + case.chance.uniform(0.1, 1.0))
            running[0].thaw()
        await asyncio.sleep(LEASE_SECONDS + 1.0)

    await come_to_rest(case.connection)
    await case.verdict(within=30)
    await judged(case, case.connection)


class TestWithAServerOfItsOwn:
    @pytest.fixture
    def database_url(self, own_postgres: Cluster) -> str:
        return own_postgres.server().url

    async def test_postgres_is_away_while_runs_overlap(
        self, case: Case, own_postgres: Cluster
    ) -> None:
        await case.processes.instances(2)
        await busy_crons(case.connection, case.load, case.sink)
        async with case.load.running(per_second=5):
            await case.moment(3.0)
            with case.ledger.fault("kill -9 of Postgres while runs overlap", within=10.0):
                kill_postgres(own_postgres)
                await asyncio.sleep(LEASE_SECONDS + 1.0)
                await asyncio.to_thread(own_postgres.start, 0)
            await asyncio.sleep(LEASE_SECONDS + 2.0)

        connection = await asyncpg.connect(case.database_url)
        try:
            await come_to_rest(connection)
            await case.verdict(within=30)
            await judged(case, connection)
        finally:
            await connection.close()


async def cancelled_first(victim: Process, cancel: Callable[[], Awaitable[None]]) -> None:
    await cancel()
    await victim.kill()


async def killed_first(victim: Process, cancel: Callable[[], Awaitable[None]]) -> None:
    await victim.kill()
    await cancel()


async def frozen_first(victim: Process, cancel: Callable[[], Awaitable[None]]) -> None:
    victim.freeze()
    await cancel()
    await victim.kill()


@pytest.mark.parametrize("order", [cancelled_first, killed_first, frozen_first])
@pytest.mark.parametrize("beside", [False, True], ids=["the plan", "a run now"])
async def test_an_execution_is_cancelled_whose_holder_is_killed(
    case: Case,
    order: Callable[[Process, Callable[[], Awaitable[None]]], Awaitable[None]],
    beside: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    victim = await case.processes.instance()
    url = case.sink.on("/long", case.ledger.receiver(60.0), case.ledger.receiver())
    schedule = {"cron": "0 0 1 1 *"} if beside else {}
    job_id = await insert_job(
        case.connection, target={"url": url}, timeout_seconds=600, backoff_seconds=0, **schedule
    )
    if beside:
        await case.connection.execute("select tocsin.run_now($1)", job_id)
    await case.sink.arrived(1)
    other = await case.processes.instance()
    [first] = case.ledger.deliveries

    async def cancel() -> None:
        [row] = await case.connection.fetch(
            "select * from tocsin.cancel($1, retry => true)", first.execution_id
        )
        assert row["outcome"] == "cancelled"

    began_at = time.monotonic()
    with case.ledger.fault("kill -9 of the holder of a cancelled execution", orphans=True):
        await order(victim, cancel)
    await other.says("settled", outcome="succeeded")

    again = case.ledger.deliveries[1]
    assert first.ended is not None
    assert first.ended <= again.arrived, "not before the lease of the dead is over"
    assert again.arrived - began_at < TAKEN_OVER_SECONDS + 10.0
    assert (again.attempt, again.key) == (2, first.key)
    rows = await execution_rows(case.connection, job_id)
    assert [(row["outcome"], row["attempt"]) for row in rows] == [
        ("cancelled", 1),
        ("succeeded", 2),
    ]
    findings = await case.verdict()
    assert findings.recorded == 1
