"""Under a storm writers notify nobody, because an instance promised to look by itself."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.core.facts import Looked, Settled
from app.core.storm import GRACE_SECONDS, PROMISE_SECONDS
from app.db import Database, doorbell
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.psql import run_psql
from tests.support.sink import Sink, hang
from tests.support.waiting import until

ARRIVES_SECONDS = 0.2
SLACK_SECONDS = 0.5
TAKEN_BACK = "select awake_until < now() - interval '30 minutes' from tocsin.doorbell"
"""Not merely over."""


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The pool that an instance publishes on."""
    async with Database.connect(database_url, application_name="test") as db:
        yield db


@pytest.fixture
async def heard(database_url: str) -> AsyncIterator[list[str]]:
    """The notifications so far, heard as an instance hears them."""
    connection = await asyncpg.connect(database_url)
    heard: list[str] = []
    await connection.add_listener("tocsin_jobs", lambda *_: heard.append("rung"))
    yield heard
    await connection.close()


async def rung(heard: list[str]) -> int:
    """Wait until a notification would have arrived; return how many did since last asked."""
    await asyncio.sleep(ARRIVES_SECONDS)
    count = len(heard)
    heard.clear()
    return count


async def storm(connection: asyncpg.Connection, *, url: str, seconds: float) -> int:
    """Insert jobs that are due, each in a transaction of its own; return how many."""
    ends_at = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends_at:
        await insert_job(connection, target={"url": url})
        await asyncio.sleep(0.002)
        count += 1
    return count


async def test_a_promise_is_announced_once_and_silences_writers(
    connection: asyncpg.Connection, db: Database, heard: list[str]
) -> None:
    await doorbell.publish(db, seconds=PROMISE_SECONDS)
    announced = await rung(heard)
    await doorbell.publish(db, seconds=PROMISE_SECONDS)
    renewed = await rung(heard)
    await insert_job(connection)
    inserted = await rung(heard)
    await doorbell.withdraw(db)
    withdrawn = await rung(heard)
    await insert_job(connection)

    assert (announced, renewed, inserted, withdrawn) == (1, 0, 0, 1)
    assert await rung(heard) == 1


@pytest.mark.parametrize("seconds", [-0.1, 6.0, 3600.0])
async def test_a_promise_that_is_over_or_from_another_time_is_not_believed(
    connection: asyncpg.Connection, db: Database, heard: list[str], seconds: float
) -> None:
    await doorbell.publish(db, seconds=seconds)
    await rung(heard)

    await insert_job(connection)

    assert await rung(heard) == 1


async def test_writers_need_no_right_to_the_doorbell(
    connection: asyncpg.Connection, db: Database, database_url: str, heard: list[str]
) -> None:
    role = "writer_without_doorbell"
    await doorbell.publish(db, seconds=PROMISE_SECONDS)
    await rung(heard)
    run_psql(
        database_url,
        f"create role {role}; grant usage on schema tocsin to {role};"
        f"grant select, insert, update on tocsin.jobs to {role}",
    )
    try:
        run_psql(database_url, f"set role {role}; select tocsin.http_job(null, 'http://h/')")
        assert await rung(heard) == 0
    finally:
        run_psql(database_url, f"drop owned by {role}; drop role {role}")


async def test_what_a_publisher_that_died_would_have_found_waits_for_its_promise_and_grace(
    instance: StartInstance, connection: asyncpg.Connection, db: Database, sink: Sink
) -> None:
    async with instance(longest_sleep_seconds=30) as (_, facts):
        await doorbell.publish(db, seconds=PROMISE_SECONDS)  # and dies: nobody looks
        published = time.monotonic()
        await asyncio.sleep(0.7 * PROMISE_SECONDS)  # a slow first look asks for another one soon
        await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled)
        waited = time.monotonic() - published

    assert PROMISE_SECONDS < waited < PROMISE_SECONDS + GRACE_SECONDS + SLACK_SECONDS


async def test_a_storm_is_silenced_and_calm_returns(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, heard: list[str]
) -> None:
    async with instance(longest_sleep_seconds=30) as (_, facts):
        await storm(connection, url=sink.url("/"), seconds=1.5)
        before = len(heard)
        count = await storm(connection, url=sink.url("/"), seconds=2.0)
        during = len(heard) - before
        assert count > 200, "this machine is too slow for a storm"
        await asyncio.sleep(PROMISE_SECONDS + GRACE_SECONDS + 2 * SLACK_SECONDS)
        looks = len(facts.of(Looked))
        await asyncio.sleep(1.0)
        after = len(facts.of(Looked)) - looks
        heard.clear()
        job_id = await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled, job_id=job_id, within=1.0)

    assert during <= 2
    assert after <= 1
    assert len(heard) == 1


async def test_a_trickle_of_jobs_publishes_nothing(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance():
        for _ in range(40):
            await insert_job(connection, target={"url": sink.url("/")})
            await asyncio.sleep(0.03)

    assert await connection.fetchval("select count(*) from tocsin.doorbell") == 0


async def test_who_stops_takes_the_promise_back(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, heard: list[str]
) -> None:
    in_force = "select exists (select from tocsin.doorbell where awake_until > clock_timestamp())"
    async with instance() as (_, facts):
        while not await connection.fetchval(in_force):
            await storm(connection, url=sink.url("/"), seconds=0.3)
        assert facts.of(Settled)
    await rung(heard)

    assert not await connection.fetchval(in_force)
    await insert_job(connection)
    assert await rung(heard) == 1


async def test_who_has_no_room_takes_the_promise_back(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/long", hang)
    in_force = "select exists (select from tocsin.doorbell where awake_until > clock_timestamp())"
    async with instance(concurrency=4, grace_seconds=0.1):
        while not await connection.fetchval(in_force):
            await storm(connection, url=sink.url("/"), seconds=0.3)
        for _ in range(20):
            await insert_job(connection, target={"url": sink.url("/long")})
        await until(lambda: connection.fetchval(TAKEN_BACK), "the promise was taken back", within=3)
