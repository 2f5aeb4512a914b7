"""A request that is sent again after the API was killed is done once."""

import asyncio
from contextlib import suppress

import asyncpg
import httpx

from tests.support.api import LATER
from tests.support.cluster import Processes
from tests.support.rabbit import free_ports
from tests.support.waiting import until

KEY = {"Idempotency-Key": "of-this-order"}
PATIENCE_SECONDS = 40.0


async def test_what_a_killed_api_has_begun_is_done_once_by_the_next_try(
    database_url: str, connection: asyncpg.Connection
) -> None:
    [port] = free_ports(1)
    await connection.execute(
        """create function public.dawdle() returns trigger language plpgsql as
        'begin perform pg_sleep(3); return null; end';
        create trigger dawdles after update on tocsin.idempotency_keys
            for each row execute function public.dawdle()"""
    )

    async def is_written() -> object:
        return await connection.fetchval(
            """select 1 from pg_stat_activity where wait_event = 'PgSleep'
            and query like '%idempotency.keep%' and datname = current_database()"""
        )

    async with (
        Processes(port=port).running() as processes,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        first = await processes.start("api", database_url=database_url)
        await first.says("serving", within=PATIENCE_SECONDS)
        sent = asyncio.create_task(client.post("/v1/jobs", json=LATER, headers=KEY))
        await until(is_written, "the job is inserted, and its answer about to be kept")
        await first.kill()
        with suppress(httpx.HTTPError):
            await sent
        await connection.execute("drop function public.dawdle cascade")
        second = await processes.start("api", database_url=database_url)
        await second.says("serving", within=PATIENCE_SECONDS)

        done = await client.post("/v1/jobs", json=LATER, headers=KEY)
        await second.kill()  # as if before this answer arrived
        third = await processes.start("api", database_url=database_url)
        await third.says("serving", within=PATIENCE_SECONDS)
        again = await client.post("/v1/jobs", json=LATER, headers=KEY)

    assert (done.status_code, again.status_code) == (201, 201)
    assert again.content == done.content
    assert await connection.fetchval("select count(*) from tocsin.jobs") == 1
