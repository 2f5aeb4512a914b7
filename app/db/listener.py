"""A connection of its own that listens for notifications and carries the looks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from app.db.connecting import connect
from app.db.database import Row
from app.db.errors import translate_errors
from app.db.pooler import is_pooled, prove_that_we_hear
from app.db.queries import query
from app.errors import DatabaseUnavailable, PoolerInTheWay

CHANNEL = "tocsin_jobs"
RECALLS = "tocsin_recalls"
"""Its payload is the id of a job that somebody edited or deleted while a claim of it was held."""
TARGETS = "tocsin_targets"
"""Somebody wrote in SQL a target that is carried out in some time, and has to be checked now."""
LOOK_TIMEOUT_SECONDS = 5.0
"""A session that died without a word is noticed at the next look, after so long."""


class Session:
    """A listening connection. Never pooled, never in a transaction: both would mute it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            AppError: see `app.db.errors.translated`.
        """
        statement = query(name)
        with translate_errors():
            return await self.connection.fetch(statement.sql, *statement.arguments(arguments))


@asynccontextmanager
async def listening(
    url: str,
    *,
    ring: Callable[[], None],
    recall: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    application_name: str,
) -> AsyncIterator[Session]:
    """Open a session that calls `ring` on every notification and when the connection is lost.

    `recall` is called with the text of every notification of a second channel, `check` on every one
    of a third. LISTEN has taken effect when this returns, so a look made afterwards misses nothing.

    Raises:
        DatabaseUnavailable: nobody answers at `url`, or LISTEN failed.
        PoolerInTheWay: something between us and Postgres swallows notifications.
    """
    arrived = asyncio.Event()

    def told(*_: object) -> None:
        arrived.set()
        ring()

    with translate_errors():
        connection = await connect(
            url,
            command_timeout=LOOK_TIMEOUT_SECONDS,
            server_settings={
                "application_name": application_name,
                "idle_session_timeout": "0",
                "jit": "off",
                # The look is one statement made of index probes, whatever the number of rows:
                # plan it once, and never by statistics of a table that was empty a minute ago
                # or by the guess that its limit, a parameter, is a tenth of the table.
                "plan_cache_mode": "force_generic_plan",
                "enable_seqscan": "off",
                "enable_hashjoin": "off",
                "enable_mergejoin": "off",
            },
        )
    try:
        with translate_errors():
            connection.add_termination_listener(lambda _: ring())
            await connection.add_listener(CHANNEL, told)
            await connection.add_listener(RECALLS, lambda *heard: recall(str(heard[-1])))
            await connection.add_listener(TARGETS, lambda *_: check())
            if await is_pooled(connection):
                await prove_that_we_hear(url, CHANNEL, arrived)
        yield Session(connection)
    except (DatabaseUnavailable, PoolerInTheWay):
        connection.terminate()  # nobody there to take leave of
        raise
    finally:
        try:
            await connection.close(timeout=1.0)
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
            connection.terminate()
        except asyncio.CancelledError:
            connection.terminate()
            raise
