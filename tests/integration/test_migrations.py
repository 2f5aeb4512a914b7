"""psql and `tocsin migrate` do the same, and schema.sql is the sum of the migrations."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from app.db import Database, migrate
from app.devdb.places import embedded_programs
from app.errors import SchemaOutdated
from tests.support.postgres import PostgresServer, url_of
from tests.support.psql import run_psql

DB = Path(__file__).parents[2] / "db"
EmptyDatabase = Callable[[str], str]


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[EmptyDatabase]:
    """Create empty databases by name."""
    with ExitStack() as stack:

        def create(name: str) -> str:
            run_psql(postgres_server.url, f"create database {name}")
            stack.callback(run_psql, postgres_server.url, f"drop database {name} with (force)")
            return url_of(postgres_server.url, name)

        yield create


def dumped(url: str) -> str:
    """Return the schema as pg_dump writes it, without its version lines and today's partitions."""
    dump = subprocess.run(  # noqa: S603 - a program of our own choice, by its full path
        [embedded_programs() / "pg_dump", "--schema-only", "--schema=tocsin", f"--dbname={url}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return re.sub(r"^(--|\\(un)?restrict).*\n", "", dump, flags=re.MULTILINE)


async def test_schema_sql_is_the_sum_of_the_migrations(empty_database: EmptyDatabase) -> None:
    whole = empty_database("whole_schema")
    run_psql(whole, files=(DB / "schema.sql", DB / "triggers.sql"))
    summed = empty_database("sum_of_migrations")
    run_psql(summed, files=(*sorted((DB / "migrations").glob("*.sql")), DB / "triggers.sql"))

    assert dumped(whole) == dumped(summed)
    versions = (
        "select string_agg(version::text, ' ' order by version) from tocsin.schema_migrations"
    )
    assert run_psql(whole, versions) == run_psql(summed, versions)


async def test_migrate_does_what_psql_does(empty_database: EmptyDatabase) -> None:
    by_psql = empty_database("by_psql")
    run_psql(by_psql, files=(DB / "schema.sql", DB / "triggers.sql"))
    by_command = empty_database("by_command")

    applied = await migrate.migrate(by_command)

    assert list(applied) == list(migrate.migrations())
    assert dumped(by_psql) == dumped(by_command)


async def test_migrating_again_changes_nothing(empty_database: EmptyDatabase) -> None:
    url = empty_database("twice")
    await migrate.migrate(url)
    before = dumped(url)

    assert list(await migrate.migrate(url)) == []
    assert dumped(url) == before


async def test_migrations_that_run_at_once_wait_for_each_other(
    empty_database: EmptyDatabase,
) -> None:
    url = empty_database("at_once")

    applied = await asyncio.gather(*(migrate.migrate(url) for _ in range(4)))

    assert sorted(len(versions) for versions in applied)[:3] == [0, 0, 0]


async def test_an_instance_refuses_a_database_without_our_schema(
    empty_database: EmptyDatabase,
) -> None:
    async with Database.connect(empty_database("bare"), application_name="test") as db:
        with pytest.raises(SchemaOutdated, match="run `tocsin migrate`"):
            await migrate.check(db)


async def test_an_instance_refuses_a_newer_schema_only_when_it_is_breaking(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with Database.connect(database_url, application_name="test") as db:
        await connection.execute("insert into tocsin.schema_migrations values (8000, false)")
        await migrate.check(db)
        await connection.execute("insert into tocsin.schema_migrations values (9000, true)")
        with pytest.raises(SchemaOutdated, match="9000"):
            await migrate.check(db)


async def test_triggers_can_be_applied_again_at_any_time(database_url: str) -> None:
    before = dumped(database_url)

    run_psql(database_url, files=(DB / "triggers.sql",))

    assert dumped(database_url) == before
