"""An instance that announced polling is killed; what was written in silence starts all the same."""

import asyncio
import time
from datetime import datetime

import asyncpg
import pytest

from app.scheduler.notify import ANNOUNCED_SECONDS, GRACE_SECONDS
from tests.faults.conftest import Case
from tests.support.builders import insert_job

SLACK_SECONDS = 0.7


@pytest.mark.parametrize("attempt", range(3))
async def test_the_publisher_is_killed_and_what_was_inserted_in_its_silence_starts_elsewhere(
    case: Case, attempt: int
) -> None:
    del attempt  # where in its half second the kill falls is up to chance
    case.sink.on("/storm", case.ledger.receiver())
    case.sink.on("/victim", case.ledger.receiver())
    publisher = await case.processes.instance(longest_sleep_seconds=30)
    storming = asyncio.create_task(storm(case))
    try:
        published = await newer_announcement(case.connection, None)
        # Started while all is silent: it reads the announcement, and gets too few notifications.
        other = await case.processes.instance(longest_sleep_seconds=30)
        await asyncio.sleep(ANNOUNCED_SECONDS + GRACE_SECONDS)
        published = await newer_announcement(
            case.connection,
            await case.connection.fetchval("select polling_until from tocsin.polling"),
        )
    finally:
        storming.cancel()
        await asyncio.wait({storming})
    listener = await asyncpg.connect(case.database_url)
    heard: list[object] = []
    await listener.add_listener("tocsin_jobs", lambda *_: heard.append("notified"))

    with case.ledger.fault("kill -9 of the publisher"):
        await publisher.kill()
    inserted = time.monotonic()
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/victim")})
    in_silence = await case.connection.fetchval("select clock_timestamp() < $1", published)
    await other.says("settled", job_id=str(job_id), within=10)
    waited = time.monotonic() - inserted
    await listener.close()

    assert in_silence
    assert heard == []
    assert waited < ANNOUNCED_SECONDS + GRACE_SECONDS + SLACK_SECONDS


async def storm(case: Case) -> None:
    """Insert due jobs, each committed by itself."""
    connection = await asyncpg.connect(case.database_url)
    try:
        while True:
            await insert_job(connection, target={"url": case.sink.url("/storm")})
            await asyncio.sleep(0.003)
    finally:
        connection.terminate()


async def newer_announcement(connection: asyncpg.Connection, known: datetime | None) -> datetime:
    """Wait for an announcement in force that is another than the known one."""
    async with asyncio.timeout(15):
        while True:
            until: datetime | None = await connection.fetchval(
                "select polling_until from tocsin.polling where polling_until > clock_timestamp()"
            )
            if until is not None and until != known:
                return until
            await asyncio.sleep(0.005)
