"""The pool: the kernel watches its connections, and one without an answer is given up in time."""

import socket
import time

import asyncpg
import pytest

from app.db import Database, isolating, plans
from app.db.connecting import connect
from app.db.keepalive import KEEPALIVE
from app.db.listener import open_session
from app.errors import DatabaseUnavailable, LockedByOthers
from tests.support.postgres import url_of


async def test_the_kernel_watches_the_connections_of_the_pool(database_url: str) -> None:
    async with (
        Database.connect(database_url, application_name="test") as db,
        db.pool.acquire() as connection,
    ):
        sock: socket.socket = connection._con._transport.get_extra_info("socket")

        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for option, value in KEEPALIVE.items():
            assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value


@pytest.mark.alone
async def test_a_statement_without_an_answer_is_given_up_and_the_next_one_is_answered(
    database_url: str,
) -> None:
    person = await connect(database_url)
    async with Database.connect(database_url, application_name="test", patience_seconds=0.5) as db:
        async with person.transaction():
            await person.execute("lock table tocsin.schema_migrations in access exclusive mode")
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                await db.fetch("upkeep.schema_versions")
            took = time.monotonic() - began
            left_behind = await person.fetchval(
                """select count(*) from pg_stat_activity
                   where wait_event_type = 'Lock' and datname = current_database()"""
            )

        assert await db.fetch("upkeep.schema_versions")
    await person.close()

    assert 0.4 < took < 2.5
    assert left_behind == 0, "the statement was cancelled, not left waiting"


async def test_a_transaction_without_an_answer_is_undone_and_keeps_no_connection(
    database_url: str,
) -> None:
    person = await connect(database_url)

    async def wait_for_the_lock(db: Database) -> None:
        secret = {"name": "of-a-transaction", "value": "encrypted.v2.x", "hosts": ["example.com"]}
        async with db.transaction() as transaction:
            await transaction.fetch("secrets.put", **secret)
            await transaction.fetch("upkeep.schema_versions")

    async with Database.connect(
        database_url, application_name="test", max_connections=1, patience_seconds=0.5
    ) as db:
        async with person.transaction():
            await person.execute("lock table tocsin.schema_migrations in access exclusive mode")
            with pytest.raises(DatabaseUnavailable):
                await wait_for_the_lock(db)
            left_behind = await person.fetchval(
                """select count(*) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()
                     and (state <> 'idle' or wait_event_type = 'Lock')"""
            )

        assert await db.fetch("upkeep.schema_versions")
        assert not await person.fetch("select from tocsin.secrets")
    await person.close()

    assert left_behind == 0, "the statement was cancelled and undone, not left waiting"


async def test_where_time_is_limited_a_read_costs_one_round_trip_and_a_write_four(
    database_url: str,
) -> None:
    asked: list[str] = []
    async with Database.connect(
        database_url, application_name="test", max_connections=1, limit_seconds=5.0
    ) as db:
        async with db.pool.acquire() as connection:
            connection.add_query_logger(lambda query: asked.append(query.query))
        await isolating.read_horizon(db)
        await plans.list_unplanned(db)
        reads, asked[:] = len(asked), []
        await plans.write(db, [])

    assert reads == 2
    assert len(asked) == 4
    assert asked[2] == "set constraints all immediate"


async def test_where_time_is_limited_a_read_ends_in_time_too(database_url: str) -> None:
    person = await connect(database_url)
    async with Database.connect(
        database_url, application_name="test", max_connections=1, limit_seconds=0.2
    ) as db:
        assert await plans.list_unplanned(db) == []
        async with person.transaction():
            await person.execute("lock table tocsin.jobs in access exclusive mode")
            with pytest.raises(LockedByOthers):
                await plans.list_unplanned(db)
        async with db.pool.acquire() as connection:
            with pytest.raises(asyncpg.QueryCanceledError):
                await connection.fetch("select pg_sleep(60)")
    await person.close()


async def test_the_second_host_is_used_where_nobody_answers_at_the_first(database_url: str) -> None:
    credentials, _, host = url_of(database_url, "").rstrip("/").rpartition("@")
    database = database_url.rpartition("/")[2]

    connection = await connect(f"{credentials}@127.0.0.1:9,{host}/{database}")
    try:
        assert await connection.fetchval("select current_database()") == database
    finally:
        await connection.close()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_the_isolation_level_of_the_database_is_not_that_of_our_sessions(
    database_url: str, level: str
) -> None:
    database = database_url.rpartition("/")[2]
    person = await connect(database_url)
    await person.execute(
        f"""alter database "{database}" set default_transaction_isolation = '{level}'"""
    )
    await person.close()

    connection = await connect(database_url)
    try:
        assert await connection.fetchval("show transaction_isolation") == "read committed"
    finally:
        await connection.close()
    async with (
        Database.connect(database_url, application_name="test") as db,
        db.pool.acquire() as pooled,
    ):
        assert await pooled.fetchval("show transaction_isolation") == "read committed"
    async with open_session(database_url, wake=lambda: None, application_name="test") as session:
        level_of_looks = await session.connection.fetchval("show transaction_isolation")
        assert level_of_looks == "read committed"
