"""A process that is frozen inside a transaction keeps nobody from its rows for long."""

import asyncio

import asyncpg
import pytest

from app.db import Database, connecting
from app.errors import DatabaseUnavailable
from tests.support.builders import insert_job

FROZEN_SECONDS = 0.2


async def test_a_process_that_is_frozen_inside_a_transaction_loses_its_session(
    connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await insert_job(connection)
    async with Database.connect(database_url, application_name="usual") as db, db.session() as one:
        usual = await one.fetchval("show idle_in_transaction_session_timeout")

    shorter = connecting.IDLE_IN_TRANSACTION.replace("'30s'", f"'{FROZEN_SECONDS * 1000:.0f}ms'")
    monkeypatch.setattr(connecting, "IDLE_IN_TRANSACTION", shorter)
    async with Database.connect(database_url, application_name="frozen") as db:

        async def hold_while_frozen() -> None:
            async with db.transaction() as transaction:
                held = "update tocsin.jobs set description = 'held' where id = $1"
                await transaction.connection.execute(held, job_id)
                async with asyncio.timeout(5):  # waits for the row until Postgres ends the session
                    await connection.execute("update tocsin.jobs set name = 'free'")
                await transaction.fetch("claims.wake")

        with pytest.raises(DatabaseUnavailable):
            await hold_while_frozen()

    assert usual == "30s"
    row = await connection.fetchrow("select name, description from tocsin.jobs")
    assert dict(row) == {"name": "free", "description": None}
