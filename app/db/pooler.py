"""Notices a pooler that answers for Postgres, and refuses one that does not keep sessions apart.

Through such a one notifications are lost, and of two clients that prepared a statement under the
same name one may run the other's.
"""

import asyncio

import asyncpg

from app.db.connecting import CONNECT_TIMEOUT_SECONDS, connect
from app.db.errors import POOLER, translate_errors
from app.errors import PoolerInTheWay

HEARD_SECONDS = 2.0
"""How long a notification may take through a pooler before it counts as lost."""


async def is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether something answers for Postgres: its process is not the one we were told."""
    return bool(await process_behind(connection) != connection.get_server_pid())


async def process_behind(connection: asyncpg.Connection) -> int:
    async with connection.transaction():  # a pooler keeps to one process as long as it lasts
        pid: int = await connection.fetchval("select pg_backend_pid()")
        return pid


async def prove_that_we_hear(url: str, channel: str, heard: asyncio.Event) -> None:
    """Send a notification from another session and wait for it.

    Not from the one that listens: a pooler may happen to have kept that for us, for the moment.

    Raises:
        PoolerInTheWay: it did not arrive.
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
    """Make sure that a session is its client's own, for those who do not listen.

    Raises:
        PoolerInTheWay: two clients at a time were given one session.
        DatabaseUnavailable: nobody answers at `url`.
    """
    with translate_errors():
        one = await connect(url)
        try:
            if not await is_pooled(one):
                return
            pid = await process_behind(one)
            other = await connect(url)
            try:
                if await process_behind(other) == pid:
                    raise PoolerInTheWay(POOLER)
            finally:
                other.terminate()
        finally:
            one.terminate()
