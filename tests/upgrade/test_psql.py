"""Whoever upgrades with psql gets what `tocsin migrate` makes, on every Postgres there is."""

import asyncpg
import pytest

from tests.support.builders import URL
from tests.support.dump import dumped
from tests.support.postgres import PostgresServer
from tests.support.psql import run_psql
from tests.upgrade.compared import all_rows, changed_rows, doubtful
from tests.upgrade.filled import fill
from tests.upgrade.trees import Tree, upgrades


@pytest.fixture
def postgres_server(any_postgres: PostgresServer) -> PostgresServer:
    return any_postgres


@upgrades()
async def test_psql_upgrades_as_migrate_does(
    database_url: str, connection: asyncpg.Connection, older: Tree, newer: Tree, fresh_url: str
) -> None:
    fill(older, database_url, target_url=URL)
    before = await all_rows(connection)

    run_psql(database_url, files=(*newer.scripts[len(older.scripts) :], newer.triggers))

    after = await all_rows(connection)
    assert changed_rows(before, after) == {}
    entered = {"schema_migrations"} if len(newer.scripts) > len(older.scripts) else set()
    assert changed_rows(after, before).keys() == entered
    assert dumped(database_url) == dumped(fresh_url)
    assert await doubtful(connection) == []
