"""Many due jobs for one host hold up no job for another."""

from collections.abc import Collection
from datetime import datetime, timedelta

import asyncpg
import pytest
from msgspec import json

from app.core.facts import Settled
from app.db import Database
from app.db.isolating import Due, list_due_of_others
from app.targets.hosts import hosts_of
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink, late, reply

CROWD = 1500
ANSWERED_SECONDS = 0.03
"""How long the host of the crowd takes for each: five seconds for all, with ten slots.

A job that nobody searches for comes after 99 % of the crowd. One that is searched for within half a
second comes after less than a tenth of it; of those that fail at once an eighth has ended by then.
"""


async def search(
    db: Database,
    *,
    crowds: Collection[str],
    until: datetime,
    since: datetime | None = None,
    window: int = 4,
) -> tuple[list[Due], bool]:
    """Search for up to ten due jobs for other hosts than these."""
    return await list_due_of_others(
        db,
        crowds=crowds,
        window=window,
        limit=10,
        kinds=["http", "amqp"],
        since=since,
        until=until,
        aside=[],
    )


@pytest.mark.parametrize("later", [0.0, 0.1], ids=["in the same instant", "a moment later"])
async def test_a_job_behind_a_crowd_of_one_host_does_not_wait_for_the_crowd(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, later: float
) -> None:
    sink.on("/crowd", late(ANSWERED_SECONDS, reply()))
    async with instance(concurrency=10) as (_, facts):
        due = await connection.fetchval("select now() + interval '2 seconds'")
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at)
               select 'http', jsonb_build_object('url', $1::text), $2
               from generate_series(1, $3::int)""",
            sink.url("/crowd"),
            due,
            CROWD,
        )
        job_id = await insert_job(
            connection,
            target={"url": sink.url("/other", host="127.0.0.2")},
            run_at=due + timedelta(seconds=later),
        )
        await facts.seen(Settled, job_id=job_id, within=60)

        before = [request.path for request in sink.requests].index("/other")
        assert before < 0.2 * CROWD


async def test_a_job_behind_a_crowd_of_several_hosts_that_refuse_does_not_wait_for_the_crowd(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance(concurrency=10) as (_, facts):
        due = await connection.fetchval("select now() + interval '2 seconds'")
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at, max_attempts)
               select 'http', jsonb_build_object('url', format('http://127.0.0.1:%s/', 1 + n % 6)),
                   $1, 1
               from generate_series(1, $2::int) as n""",
            due,
            2 * CROWD,
        )
        job_id = await insert_job(connection, target={"url": sink.url("/other")}, run_at=due)
        await facts.seen(Settled, job_id=job_id, within=60)

        assert len(facts.of(Settled)) < 0.3 * 2 * CROWD


@pytest.mark.parametrize(
    "url",
    [
        "http://one.example",
        "http://one.example:8080/",
        "https://user:pass@one.example:8080?a=//b",
        "//one.example/x",
        "http://[2001:db8::1]:80/x",
        "http://ONE.example#a/b",
        "amqp://user@one.example/vhost",
    ],
)
async def test_the_host_of_a_crowd_is_the_same_in_sql(
    connection: asyncpg.Connection, database_url: str, url: str
) -> None:
    target = {"url": url}
    [host] = hosts_of("http", json.encode(target).decode())
    job_id = await insert_job(connection, target=target)

    async with Database.connect(database_url, application_name="test") as db:

        async def others(*crowds: str) -> list[object]:
            until = await connection.fetchval("select now()")
            found, _ = await search(db, crowds=crowds, window=10, until=until)
            return [one.job_id for one in found]

        assert await others("another.example", f"{host}0") == [job_id]
        assert await others(host) == []


async def test_a_search_past_a_crowd_reads_the_latest_due_jobs_alone(
    connection: asyncpg.Connection, database_url: str
) -> None:
    now = await connection.fetchval("select now()")
    for seconds in (5, 4, 3, 2, -60):
        at = now - timedelta(seconds=seconds)
        host = "crowd" if seconds == 3 else f"host{seconds}"
        await insert_job(connection, target={"url": f"http://{host}/"}, run_at=at)
    long = {"url": "http://other/", "body": "x" * 100_000}
    await insert_job(connection, target=long, run_at=now - timedelta(seconds=1))

    async with Database.connect(database_url, application_name="test") as db:

        async def found(since: datetime | None) -> list[str]:
            due, deferring = await search(db, crowds={"crowd"}, until=now, since=since)
            assert not deferring
            urls = "select target ->> 'url' from tocsin.jobs where id = $1"
            return [await connection.fetchval(urls, one.job_id) for one in due]

        assert await found(None) == ["http://host4/", "http://host2/"]
        assert await found(now - timedelta(seconds=3)) == ["http://host2/"]


async def test_a_search_past_a_crowd_tells_what_users_defer(
    connection: asyncpg.Connection, database_url: str
) -> None:
    """What is deferred has to be done before the claim is committed: Postgres cancels no COMMIT."""
    await insert_job(connection, target={"url": "http://other/"})
    now = await connection.fetchval("select now()")

    async with Database.connect(database_url, application_name="test") as db:

        async def is_deferring() -> bool:
            _, deferring = await search(db, crowds={"crowd"}, until=now)
            return deferring

        usual = await is_deferring()
        await connection.execute(
            """create function public.note() returns trigger language plpgsql
               as 'begin return new; end'"""
        )
        await connection.execute(
            """create constraint trigger note after update on tocsin.jobs deferrable initially
               deferred for each row execute function public.note()"""
        )
        assert (usual, await is_deferring()) == (False, True)
