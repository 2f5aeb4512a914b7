"""What the tests of upgrades share: the code of two versions, and a database of the older one."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faults.conftest import Case, standing
from tests.support.postgres import PostgresServer, url_of
from tests.support.psql import run_psql
from tests.support.sink import Sink
from tests.support.vault import KEY
from tests.upgrade.filled import create_database
from tests.upgrade.trees import Tree, Upgrade


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(150))


@pytest.fixture
def older(upgrade: Upgrade, tmp_path: Path) -> Tree:
    return upgrade.older(tmp_path / "older")


@pytest.fixture
def newer(upgrade: Upgrade, tmp_path: Path) -> Tree:
    return upgrade.newer(tmp_path / "newer")


@pytest.fixture
def database_url(postgres_server: PostgresServer, older: Tree) -> Iterator[str]:
    """Give a database that psql made of the older version's files."""
    name = f"upgrade_{uuid4().hex}"
    run_psql(postgres_server.url, f"create database {name}")
    try:
        create_database(url_of(postgres_server.url, name), older)
        yield url_of(postgres_server.url, name)
    finally:
        run_psql(postgres_server.url, f"drop database {name} with (force)")


@pytest.fixture
def fresh_url(postgres_server: PostgresServer, newer: Tree) -> Iterator[str]:
    """Give a database that psql made of the newer version's files."""
    name = f"fresh_{uuid4().hex}"
    run_psql(postgres_server.url, f"create database {name}")
    try:
        create_database(url_of(postgres_server.url, name), newer)
        yield url_of(postgres_server.url, name)
    finally:
        run_psql(postgres_server.url, f"drop database {name} with (force)")


@pytest.fixture
async def case(
    request: pytest.FixtureRequest, database_url: str, sink: Sink, chance: random.Random
) -> AsyncIterator[Case]:
    """Give a cluster on the database of the older version."""
    async with standing(request, database_url, sink, chance, through_proxy=False) as case:
        case.processes.settings["secret_keys"] = KEY
        yield case
