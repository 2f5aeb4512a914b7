"""The session that listens: it wakes, it notices its own death, the kernel watches it."""

import asyncio
import socket
from collections.abc import Callable

import asyncpg
import pytest

from app.db.flood_guard import MAX_PER_SECOND, FloodGuard
from app.db.keepalive import KEEPALIVE
from app.db.listener import open_session
from app.errors import DatabaseUnavailable
from tests.support.builders import insert_job
from tests.support.waiting import until

PATIENCE_SECONDS = 5.0


class Wake:
    """Counts calls and lets a test wait for one."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __call__(self) -> None:
        self.event.set()

    async def heard(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.event.wait()


async def test_a_committed_job_rings(database_url: str, connection: asyncpg.Connection) -> None:
    wake = Wake()
    async with open_session(database_url, wake=wake, application_name="test"):
        await insert_job(connection)

        await wake.heard()


async def test_a_job_typed_into_psql_rings(database_url: str, psql: Callable[[str], str]) -> None:
    wake = Wake()
    async with open_session(database_url, wake=wake, application_name="test"):
        await asyncio.to_thread(
            psql,
            """insert into tocsin.jobs (kind, target, run_at)
               values ('http', '{"url": "http://127.0.0.1:9/"}', now());""",
        )

        await wake.heard()


async def test_the_end_of_the_connection_rings(
    database_url: str, connection: asyncpg.Connection
) -> None:
    wake = Wake()
    async with open_session(database_url, wake=wake, application_name="test") as session:
        pid = session.connection.get_server_pid()
        await connection.execute("select pg_terminate_backend($1)", pid)

        await wake.heard()
        with pytest.raises(DatabaseUnavailable):
            await session.fetch("upkeep.schema_versions")


async def test_the_kernel_watches_the_connection(database_url: str) -> None:
    async with open_session(database_url, wake=Wake(), application_name="test") as session:
        sock: socket.socket = session.connection._transport.get_extra_info("socket")

        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for option, value in KEEPALIVE.items():
            assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value


async def test_nobody_there_is_said_in_our_words() -> None:
    with pytest.raises(DatabaseUnavailable, match="Postgres is not available"):
        async with open_session("postgresql://127.0.0.1:9/x", wake=Wake(), application_name="test"):
            pass


@pytest.mark.parametrize("channel", ["tocsin_jobs", "tocsin_recalls", "tocsin_targets"])
async def test_a_flood_of_notifications_ends_the_session_and_the_next_one_does_not_listen(
    database_url: str, connection: asyncpg.Connection, channel: str
) -> None:
    wake, now = Wake(), [1000.0]
    guard = FloodGuard(clock=lambda: now[0], pause_seconds=30.0)
    async with open_session(
        database_url, wake=wake, application_name="test", guard=guard
    ) as session:
        await connection.fetch(
            "select pg_notify($1, i::text) from generate_series(1, $2) as i",
            channel,
            10 * MAX_PER_SECOND,
        )
        await wake.heard()

        async def is_closed() -> bool:
            return session.connection.is_closed()

        await until(is_closed, "the session is closed")
        with pytest.raises(DatabaseUnavailable):
            await session.fetch("upkeep.schema_versions")

    later = Wake()
    async with open_session(
        database_url, wake=later, application_name="test", guard=guard
    ) as session:
        await connection.execute(f"notify {channel}, 'deaf'")
        await session.listen()
        assert await session.fetch("upkeep.schema_versions")
        assert not session.is_listening
        assert not later.event.is_set()

        now[0] += 31.0
        await session.listen()
        await connection.execute("notify tocsin_jobs")
        await later.heard()


def test_what_is_heard_in_calm_is_heard_for_ever() -> None:
    now = 0.0
    guard = FloodGuard(clock=lambda: now)
    for _ in range(20):
        assert all(guard.count("") for _ in range(MAX_PER_SECOND))
        now += 1.0


def test_long_payloads_count_several_times() -> None:
    guard = FloodGuard(clock=lambda: 0.0)

    heard = sum(guard.count("x" * 7_000) for _ in range(MAX_PER_SECOND))

    assert MAX_PER_SECOND / 50 < heard < MAX_PER_SECOND / 10
    assert guard.is_paused
