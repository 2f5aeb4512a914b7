"""A run of the tests may begin on one day (UTC) and end on the next."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from tests.support.faketime import Clock
from tests.support.history import begin_day, name_of, partitions, week_from
from tests.support.postgres import PostgresServer


@pytest.fixture
async def midnight(
    stepping: tuple[PostgresServer, Clock], clock: Clock
) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to a database for which midnight is two seconds away."""
    server, _ = stepping
    with server.database() as url:
        connection = await asyncpg.connect(url)
        left = await connection.fetchval(
            """select extract(epoch from date_trunc('day', now() at time zone 'UTC')
                   + interval '1 day' - now() at time zone 'UTC')::float8"""
        )
        clock.set(left - 2)
        yield connection
        await connection.close()


async def test_databases_of_tests_have_the_partitions_of_the_day_before(
    connection: asyncpg.Connection,
) -> None:
    before = await partitions(connection)

    today = await begin_day(connection)

    assert name_of(today - timedelta(days=1)) in before
    assert name_of(today + timedelta(days=7)) not in before
    assert await partitions(connection) == set(week_from(today))


async def test_a_test_that_counts_days_begins_after_midnight_rather_than_just_before(
    midnight: asyncpg.Connection,
) -> None:
    just_before = await midnight.fetchval("select (now() at time zone 'UTC')::date")

    today = await begin_day(midnight)

    assert today == just_before + timedelta(days=1)
    assert await midnight.fetchval("select (now() at time zone 'UTC')::date") == today
    assert await partitions(midnight) == set(week_from(today))
