"""Detects a pooler in front of Postgres, and refuses one that shares a session between clients.

Such a pooler loses notifications, and of two clients that prepared a statement under the same name
one may run the other's.
"""

import asyncio

import asyncpg

from app.db.connecting import CONNECT_TIMEOUT_SECONDS, connect
from app.db.errors import POOLER, translate_errors
from app.errors import PoolerInTheWay

HEARD_SECONDS = 2.0
"""How long a notification may take through a pooler before it counts as lost."""


async def is_pooled(connection: asyncpg.Connection) -> bool:
    """Return whether a pooler answers: its server process is not the one announced at first."""
    return bool(await find_server_process(connection) != connection.get_server_pid())


async def find_server_process(connection: asyncpg.Connection) -> int:
    async with connection.transaction():  # in a transaction a pooler keeps to one server process
        pid: int = await connection.fetchval("select pg_backend_pid()")
        return pid


async def require_notification(url: str, channel: str, heard: asyncio.Event) -> None:
    """Send a notification from a second session and wait until the listening one has `heard` it.

    The listening session could not prove that by itself: a pooler may have kept its server process
    for the moment.

    Raises:
        PoolerInTheWay: the notification did not arrive within `HEARD_SECONDS`.
    """
    elsewhere = await connect(url)
    try:
        heard.clear()
        await elsewhere.execute(f"notify {channel}", timeout=CONNECT_TIMEOUT_SECONDS)
        async with asyncio.timeout(HEARD_SECONDS):
            await heard.wait()
    except TimeoutError:
        raise PoolerInTheWay(POOLER) from None
    finally:
        elsewhere.terminate()


async def refuse_shared_sessions(url: str) -> None:
    """Make sure that no pooler shares sessions, for a process that does not listen.

    Raises:
        PoolerInTheWay: two connections at a time were given the same server process.
        DatabaseUnavailable: no server answers at `url`.
    """
    with translate_errors():
        one = await connect(url)
        try:
            if not await is_pooled(one):
                return
            pid = await find_server_process(one)
            other = await connect(url)
            try:
                if await find_server_process(other) == pid:
                    raise PoolerInTheWay(POOLER)
            finally:
                other.terminate()
        finally:
            one.terminate()
