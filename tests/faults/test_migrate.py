"""`tocsin migrate` beside those who work: it gets its locks in passing, or gives up."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.faults.conftest import Case
from tests.faults.test_upkeep import LATE_SECONDS
from tests.support.builders import insert_job

MIGRATE_SECONDS = 60.0
DROP = "drop trigger api_keys_800_audit on tocsin.api_keys"


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A program that does not commit."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def migrate(case: Case) -> tuple[int, str]:
    process = await case.processes.start("migrate")
    code = await process.ended(within=MIGRATE_SECONDS)
    return code, "\n".join(process.text)


@pytest.mark.quiet
async def test_migrating_beside_an_open_writer_keeps_nobody_waiting_and_gives_up(
    case: Case, writer: asyncpg.Connection
) -> None:
    await case.processes.instances(2)
    await case.connection.execute(DROP)
    async with case.load.running(per_second=20):
        with case.ledger.fault("a migration that waits for a writer"):
            async with writer.transaction():
                await insert_job(writer, run_at=None, every_seconds=3600)
                code, said = await migrate(case)

    await case.verdict(late=LATE_SECONDS)
    assert code == 1
    assert f"process {writer.get_server_pid()}" in said


@pytest.mark.alone
async def test_migrating_under_load_delays_nobody(case: Case) -> None:
    await case.processes.instances(2)
    async with case.load.running(per_second=20):
        for _ in range(3):
            await case.connection.execute(DROP)
            with case.ledger.fault("functions and triggers are applied anew"):
                code, said = await migrate(case)
            assert (code, said) == (0, "")

    await case.verdict(late=LATE_SECONDS)
