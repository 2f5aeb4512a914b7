"""A migration that builds an index beside all who work: it waits for them, and is done once."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.db import migrate
from app.errors import LockedByOthers
from tests.support.dump import dumped
from tests.upgrade.compared import doubtful
from tests.upgrade.samples import ADDING
from tests.upgrade.trees import Tree, Upgrade

pytestmark = pytest.mark.parametrize("upgrade", [Upgrade(samples=ADDING)], ids=["samples"])


@pytest.fixture
def newer(newer: Tree, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Have the migrations of the newer version in this process."""
    monkeypatch.setattr(migrate, "files", lambda _: newer.path / "db")
    return newer


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A person who keeps a transaction open, without a lock of ours."""
    settings = {"application_name": "somebody's report"}
    connection = await asyncpg.connect(database_url, server_settings=settings)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("select 1")
        yield connection
    await connection.close()


@pytest.fixture
async def interrupted(reader: asyncpg.Connection, newer: Tree, database_url: str) -> str:
    """Have a migration give up while it builds the index; give what it said."""
    with pytest.raises(LockedByOthers) as refused:
        await migrate.migrate(database_url, patience_seconds=0.5)
    return str(refused.value)


async def test_an_index_that_a_transaction_holds_up_says_who_it_is_and_what_was_done(
    interrupted: str, connection: asyncpg.Connection, reader: asyncpg.Connection, newer: Tree
) -> None:
    versions = await connection.fetch("select version from tocsin.schema_migrations order by 1")
    last = len(newer.scripts) - 2

    assert f"process {reader.get_server_pid()} (somebody's report" in interrupted
    assert f"nothing after schema version {last} was changed" in interrupted
    assert [row["version"] for row in versions] == list(range(1, last + 1))
    assert await doubtful(connection) == ["jobs_sample_note"]


async def test_an_index_that_was_interrupted_is_built_anew(
    interrupted: str, reader: asyncpg.Connection, database_url: str, fresh_url: str, newer: Tree
) -> None:
    await reader.execute("commit; begin")

    applied = await migrate.migrate(database_url)

    assert list(applied) == [len(newer.scripts) - 1, len(newer.scripts)]
    assert dumped(database_url) == dumped(fresh_url)


async def test_migrations_that_run_at_once_build_an_index_once(
    database_url: str, newer: Tree, fresh_url: str
) -> None:
    applied = await asyncio.gather(*(migrate.migrate(database_url) for _ in range(3)))

    last = len(newer.scripts)
    assert sorted(one for each in applied for one in each) == [last - 2, last - 1, last]
    assert dumped(database_url) == dumped(fresh_url)
