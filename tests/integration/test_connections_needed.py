"""How many connections a process needs is said in one number, which is the true one."""

import re
from typing import Any

import asyncpg
import pytest

from app.api.pings import receiving
from app.db import Database
from app.db.connections import LISTENING, NEEDED, OF_API, OF_INSTANCE, OF_PINGS, UPKEEP
from app.db.errors import POOLER
from app.db.refusals import HELP
from tests.support.cluster import ROOT
from tests.support.instances import StartInstance


async def test_the_pools_and_sessions_of_an_instance_add_up_to_what_is_said(
    instance: StartInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[asyncpg.Pool] = []
    create = asyncpg.create_pool

    def create_pool(*given: Any, **named: Any) -> asyncpg.Pool:  # noqa: ANN401
        pools.append(create(*given, **named))
        return pools[-1]

    monkeypatch.setattr(asyncpg, "create_pool", create_pool)
    async with instance():
        most = sum(pool.get_max_size() for pool in pools)

    assert most + LISTENING + UPKEEP == OF_INSTANCE


async def test_the_pool_of_the_api_is_as_large_as_is_said(database_url: str) -> None:
    async with Database.connect(database_url, application_name="tocsin api") as db:
        assert db.pool.get_max_size() == OF_API


async def test_the_pool_of_pings_is_as_large_as_is_said(database_url: str) -> None:
    async with receiving(database_url, application_name="tocsin pings") as receiver:
        assert receiver.db.pool.get_max_size() == OF_PINGS


def test_messages_and_page_say_these_numbers() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    [full] = [said for types, said in HELP if issubclass(types, asyncpg.TooManyConnectionsError)]

    assert str(OF_INSTANCE) in NEEDED
    assert str(OF_API) in NEEDED
    assert str(OF_PINGS) in NEEDED
    assert POOLER.endswith(NEEDED)
    assert full.endswith(NEEDED)
    assert re.search(rf"instance needs up to {OF_INSTANCE} connections", page)
    assert re.search(rf"API process has\sa pool of up to {OF_API}\b", page)
    assert re.search(rf"another of up to {OF_PINGS} for pings", page)
