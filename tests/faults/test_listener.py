"""The session that listens is cut, deaf, or told nonsense: lateness has a bound all the same."""

import asyncio
import time
from collections.abc import Iterator

import asyncpg
import pytest

from app.db.listener import LOOK_TIMEOUT_SECONDS
from app.devdb.cluster import Cluster
from tests.faults.conftest import MAX_SLEEP_SECONDS, Case
from tests.support.builders import insert_job
from tests.support.sink import Sink

LISTENER = "tocsin scheduler"
HEARD_SECONDS = 2.0
"""The longest until a session that was cut is replaced and work goes on."""
SILENT_SECONDS = MAX_SLEEP_SECONDS + LOOK_TIMEOUT_SECONDS + 1.0
"""The longest where nothing tells of its end: until the next look gets no answer."""


async def arrival(sink: Sink, count: int, *, within: float) -> float:
    """Wait for the request of this ordinal; return when it arrived."""
    async with asyncio.timeout(within):
        while len(sink.requests) < count:
            sink.news.clear()
            await sink.news.wait()
    return sink.requests[count - 1].monotonic


async def test_the_listener_is_terminated_again_and_again(case: Case) -> None:
    await case.processes.instance(longest_sleep_seconds=30)
    async with case.load.running(per_second=20, ahead_seconds=0.0):
        for _ in range(6):
            await case.moment(0.5)
            with case.ledger.fault("pg_terminate_backend of the listener", within=HEARD_SECONDS):
                await case.connection.execute(
                    """select pg_terminate_backend(pid) from pg_stat_activity
                       where application_name like $1 and datname = current_database()""",
                    f"{LISTENER}%",
                )
        await asyncio.sleep(0.5)

    findings = await case.verdict()

    assert (findings.explained, findings.recorded) == (0, 0)


async def test_a_listener_that_died_without_a_word_costs_one_look_that_times_out(
    proxied: Case,
) -> None:
    instance = await proxied.processes.instance()
    proxied.sink.on("/due", proxied.ledger.receiver())

    with proxied.ledger.fault("the listener's packets are dropped", within=SILENT_SECONDS):
        for link in proxied.proxy.named(LISTENER):
            link.half_open()
        committed = time.monotonic()
        await insert_job(proxied.connection, target={"url": proxied.sink.url("/due")})
    arrived = await arrival(proxied.sink, 1, within=SILENT_SECONDS + 5)

    assert arrived - committed < SILENT_SECONDS
    assert len(instance.said("connected")) == 2
    await proxied.verdict()


async def test_lost_notifications_cost_at_most_the_longest_sleep(case: Case) -> None:
    await case.processes.instance()
    case.sink.on("/due", case.ledger.receiver())
    await case.connection.execute(
        "create or replace function tocsin.wake() returns boolean language sql as 'select false'"
    )

    for count in (1, 2):
        committed = time.monotonic()
        await insert_job(case.connection, target={"url": case.sink.url("/due")})
        arrived = await arrival(case.sink, count, within=10)

        assert arrived - committed < MAX_SLEEP_SECONDS + 1.0


async def test_without_any_trigger_jobs_whose_next_run_is_given_still_run(case: Case) -> None:
    await case.connection.execute("alter table tocsin.jobs disable trigger user")
    await case.processes.instance()
    case.sink.on("/due", case.ledger.receiver())
    now = await case.connection.fetchval("select now()")

    await insert_job(
        case.connection,
        target={"url": case.sink.url("/due")},
        run_at=now,
        next_run=now,
        scheduled_for=now,
        planned_at=now,
    )

    await arrival(case.sink, 1, within=MAX_SLEEP_SECONDS + 1.0)


async def test_a_cron_typed_while_there_was_no_trigger_is_planned_at_the_next_look(
    case: Case,
) -> None:
    await case.connection.execute("alter table tocsin.jobs disable trigger user")
    await case.processes.instance()
    case.sink.on("/due", case.ledger.receiver())

    await insert_job(case.connection, target={"url": case.sink.url("/due")}, cron="* * * * * *")

    await arrival(case.sink, 1, within=MAX_SLEEP_SECONDS + 2.5)


@pytest.mark.parametrize("payload", ["x" * 7999, "{", "\\x01\\xff", "tocsin"])
async def test_whatever_is_said_on_the_channel_only_wakes(case: Case, payload: str) -> None:
    instance = await case.processes.instance()
    case.sink.on("/due", case.ledger.receiver())
    looks = len(instance.said("looked"))

    await case.connection.execute("select pg_notify('tocsin_jobs', $1)", payload)
    await instance.says("looked", count=looks + 1)
    await insert_job(case.connection, target={"url": case.sink.url("/due")})

    await arrival(case.sink, 1, within=2.0)
    assert len(instance.said("connected")) == 1


async def test_idle_session_timeout_does_not_reach_the_listener(case: Case) -> None:
    database = await case.connection.fetchval("select current_database()")
    await case.connection.execute(f"alter database {database} set idle_session_timeout = '500ms'")
    instance = await case.processes.instance(longest_sleep_seconds=30)
    case.sink.on("/due", case.ledger.receiver())

    for count in (1, 2):
        await asyncio.sleep(1.5)
        await insert_job(case.connection, target={"url": case.sink.url("/due")})
        await arrival(case.sink, count, within=2.0)
        await instance.says("settled", count=count)

    assert len(instance.said("connected")) == 1


class TestFullQueue:
    """One listener that is idle in a transaction keeps the whole notification queue."""

    @pytest.fixture
    def database_url(self, own_postgres: Cluster) -> Iterator[str]:
        return own_postgres.server().url

    async def test_a_full_notification_queue_fails_no_insert_and_delays_within_bounds(
        self, case: Case, own_postgres: Cluster
    ) -> None:
        connection = await asyncpg.connect(case.database_url)
        await connection.execute("alter system set max_notify_queue_pages = 64")
        await connection.close()
        own_postgres.stop()
        own_postgres.start(0)
        await case.processes.instance()
        rogue, writer = (
            await asyncpg.connect(case.database_url),
            await asyncpg.connect(case.database_url),
        )
        with case.ledger.fault("the notification queue is more than half full"):
            # In one string, all of it would be one transaction, and LISTEN would never commit.
            await rogue.execute("listen elsewhere")
            await rogue.execute("begin; select 1")
            number = 0
            while await writer.fetchval("select pg_notification_queue_usage()") < 0.6:
                number += 1
                await writer.execute(
                    "select pg_notify('elsewhere', repeat('x', 7000) || $1::text)", str(number)
                )
            for _ in range(100):
                await case.load.one_off(writer, ahead_seconds=0.0)
            await case.ledger.until_delivered(case.ledger.runs, within=MAX_SLEEP_SECONDS + 1.0)
            delivered = len(case.ledger.deliveries)
        await rogue.close()
        await writer.close()

        assert delivered == 100
        await case.verdict()
