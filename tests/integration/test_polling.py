"""Under a storm writers notify nobody, because an instance announced that it polls."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.core.facts import Looked, Settled
from app.db import Database, polling
from app.scheduler.notify import ANNOUNCED_SECONDS, GRACE_SECONDS
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.psql import run_psql
from tests.support.recorder import PATIENCE_SECONDS, Recorder
from tests.support.sink import Sink, hang
from tests.support.waiting import until

SLACK_SECONDS = 0.5
MAX_SLEEP_SECONDS = 30.0
CALM_SECONDS = 20.0
"""Sooner than in so long nobody who sleeps for the longest looks, whatever their jitter."""
WITHDRAWN = "select polling_until < now() - interval '30 minutes' from tocsin.polling"
"""Not merely over."""


class Heard:
    """The notifications so far, heard as an instance hears them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.count = 0
        self.caught_up = asyncio.Event()

    async def listen(self) -> None:
        await self.connection.add_listener("tocsin_jobs", self.hear)
        await self.connection.add_listener("caught_up", lambda *_: self.caught_up.set())

    def hear(self, *_: object) -> None:
        self.count += 1

    async def notifications(self) -> int:
        """Return how many there were since last asked; they arrive in the order of COMMIT."""
        self.caught_up.clear()
        await self.connection.execute("notify caught_up")
        await asyncio.wait_for(self.caught_up.wait(), PATIENCE_SECONDS)
        count, self.count = self.count, 0
        return count


@pytest.fixture
async def heard(database_url: str) -> AsyncIterator[Heard]:
    """Who has listened since the beginning."""
    connection = await asyncpg.connect(database_url)
    heard = Heard(connection)
    await heard.listen()
    yield heard
    await connection.close()


async def announced_to_the_calm(db: Database, facts: Recorder) -> float:
    """Announce polling, and return when, once seven tenths of it have passed.

    What the instance saw last lets it sleep beyond the end of the announcement. One that was not
    calm, for example because its first look was slow, has planned another look that may be sooner.
    """
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        while True:
            before = len(facts.of(Looked))
            await polling.announce(db, seconds=ANNOUNCED_SECONDS)
            published = time.monotonic()
            await asyncio.sleep(0.7 * ANNOUNCED_SECONDS)
            looks = facts.of(Looked)[before:]
            if looks and looks[-1].sleep_seconds > ANNOUNCED_SECONDS:
                return published


def is_calm(facts: Recorder) -> bool:
    """Whether no look is planned sooner than after the longest sleep."""
    return facts.of(Looked)[-1].sleep_seconds > CALM_SECONDS


async def storm(connection: asyncpg.Connection, *, url: str, seconds: float) -> int:
    """Insert jobs that are due, each in a transaction of its own; return how many."""
    ends_at = time.monotonic() + seconds
    count = 0
    while time.monotonic() < ends_at:
        await insert_job(connection, target={"url": url})
        await asyncio.sleep(0.002)
        count += 1
    return count


async def test_polling_is_announced_once_and_silences_writers(
    connection: asyncpg.Connection, db: Database, heard: Heard
) -> None:
    await polling.announce(db, seconds=ANNOUNCED_SECONDS)
    announced = await heard.notifications()
    await polling.announce(db, seconds=ANNOUNCED_SECONDS)
    renewed = await heard.notifications()
    await insert_job(connection)
    inserted = await heard.notifications()
    await polling.withdraw(db)
    withdrawn = await heard.notifications()
    await insert_job(connection)

    assert (announced, renewed, inserted, withdrawn) == (1, 0, 0, 1)
    assert await heard.notifications() == 1


@pytest.mark.parametrize("seconds", [-0.1, 6.0, 3600.0])
async def test_an_announcement_that_is_over_or_from_another_time_is_not_believed(
    connection: asyncpg.Connection, db: Database, heard: Heard, seconds: float
) -> None:
    await polling.announce(db, seconds=seconds)
    await heard.notifications()

    await insert_job(connection)

    assert await heard.notifications() == 1


async def test_writers_need_no_right_to_the_announcement(
    connection: asyncpg.Connection, db: Database, database_url: str, heard: Heard
) -> None:
    role = "writer_without_polling"
    run_psql(
        database_url,
        f"create role {role}; grant usage on schema tocsin to {role};"
        f"grant select, insert, update on tocsin.jobs to {role}",
    )
    try:
        await polling.announce(db, seconds=ANNOUNCED_SECONDS)
        await heard.notifications()
        run_psql(database_url, f"set role {role}; select tocsin.http_job(null, 'http://h/')")
        assert await heard.notifications() == 0
    finally:
        run_psql(database_url, f"drop owned by {role}; drop role {role}")


@pytest.mark.alone
async def test_what_a_publisher_that_died_would_have_found_waits_for_its_announcement_and_grace(
    instance: StartInstance, connection: asyncpg.Connection, db: Database, sink: Sink
) -> None:
    async with instance(longest_sleep_seconds=MAX_SLEEP_SECONDS) as (_, facts):
        published = await announced_to_the_calm(db, facts)  # and dies: nobody looks
        await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled)
        waited = time.monotonic() - published

    assert ANNOUNCED_SECONDS < waited < ANNOUNCED_SECONDS + GRACE_SECONDS + SLACK_SECONDS


@pytest.mark.alone
async def test_notifications_are_suppressed_at_a_high_rate_and_return(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, heard: Heard
) -> None:
    async with instance(longest_sleep_seconds=MAX_SLEEP_SECONDS) as (_, facts):
        await storm(connection, url=sink.url("/"), seconds=1.5)
        await heard.notifications()
        count = await storm(connection, url=sink.url("/"), seconds=2.0)
        during = await heard.notifications()
        assert count > 200, "this machine is too slow for a storm"
        await facts.until(lambda: is_calm(facts), within=2 * PATIENCE_SECONDS)
        looks = len(facts.of(Looked))
        await asyncio.sleep(1.0)
        after = len(facts.of(Looked)) - looks
        await heard.notifications()
        job_id = await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled, job_id=job_id, within=1.0)
        notifications = await heard.notifications()

    assert during < count / 3  # an instance without a free slot withdraws, and is notified again
    assert after <= 1
    assert notifications == 1


async def test_a_trickle_of_jobs_publishes_nothing(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance():
        for _ in range(40):
            await insert_job(connection, target={"url": sink.url("/")})
            await asyncio.sleep(0.03)

    assert await connection.fetchval("select count(*) from tocsin.polling") == 0


async def test_who_stops_withdraws_the_announcement(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, heard: Heard
) -> None:
    in_force = "select exists (select from tocsin.polling where polling_until > clock_timestamp())"
    async with instance() as (_, facts):
        while not await connection.fetchval(in_force):
            await storm(connection, url=sink.url("/"), seconds=0.3)
        assert facts.of(Settled)
    await heard.notifications()

    assert not await connection.fetchval(in_force)
    await insert_job(connection)
    assert await heard.notifications() == 1


async def test_who_has_no_room_withdraws_the_announcement(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/long", hang)
    in_force = "select exists (select from tocsin.polling where polling_until > clock_timestamp())"
    async with instance(concurrency=4, grace_seconds=0.1):
        while not await connection.fetchval(in_force):
            await storm(connection, url=sink.url("/"), seconds=0.3)
        for _ in range(20):
            await insert_job(connection, target={"url": sink.url("/long")})
        await until(
            lambda: connection.fetchval(WITHDRAWN), "the announcement was withdrawn", within=3
        )
