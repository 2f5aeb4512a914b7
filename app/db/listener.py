"""The session of an instance that listens for notifications and runs the looks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from app.db.connecting import connect
from app.db.database import Row
from app.db.errors import translate_errors
from app.db.pooler import is_pooled, require_notification
from app.db.queries import query
from app.errors import DatabaseUnavailable, PoolerInTheWay

CHANNEL = "tocsin_jobs"
"""Notifications on this channel wake instances: some job is due earlier than was known."""
RECALLS = "tocsin_recalls"
"""The payload is the id of a job that was edited or deleted while an instance held its claim."""
TARGETS = "tocsin_targets"
"""A target was written in SQL that has to be checked before its run."""
LOOK_TIMEOUT_SECONDS = 5.0
"""A look without an answer for this long ends the session, which may be half-open."""

OF_LOOKS = {
    "datestyle": "ISO",  # instants that Python cannot hold are read as text
    # The look is one statement made of index probes, whatever the number of rows: plan it once, and
    # never by statistics of a table that was empty a minute ago or by the guess that its limit, a
    # parameter, is a tenth of the table.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Of a bitmap all that is due would be read and sorted, for a batch of it.
    "enable_bitmapscan": "off",
}
"""Settings of a session that looks."""


class Session:
    """A listening connection.

    A session is never pooled and never in a transaction, as either would keep notifications back.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.limit_seconds: float | None = None
        """How long a statement may take until Postgres cancels it; None for any time."""

    def __repr__(self) -> str:
        state = "closed" if self.connection.is_closed() else "open"
        return f"Session(pid {self.connection.get_server_pid()}, {state})"

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        statement = query(name)
        with translate_errors():
            return await self.connection.fetch(statement.sql, *statement.arguments(arguments))

    async def limit(self, seconds: float) -> None:
        """Have Postgres cancel statements of this session that take longer than `seconds`.

        Raises:
            DatabaseUnavailable: the session is lost.
        """
        await self.fetch("claims.limit", statement_timeout=f"{seconds * 1000:.0f}")
        self.limit_seconds = seconds


@asynccontextmanager
async def open_session(
    url: str,
    *,
    wake: Callable[[], None],
    recall: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    application_name: str,
) -> AsyncIterator[Session]:
    """Open a session that listens for notifications.

    `wake` is called on each notification of `CHANNEL` and when the connection is lost, `recall`
    with the payload of each notification of `RECALLS`, `check` on each notification of `TARGETS`.
    LISTEN has taken effect when this returns, so a look made afterwards misses no job.

    Raises:
        DatabaseUnavailable: no server answers at `url`, or LISTEN failed.
        PoolerInTheWay: a pooler between this process and Postgres loses notifications.
    """
    arrived = asyncio.Event()

    def told(*_: object) -> None:
        arrived.set()
        wake()

    with translate_errors():
        connection = await connect(
            url,
            command_timeout=LOOK_TIMEOUT_SECONDS,
            server_settings={
                "application_name": application_name,
                "idle_session_timeout": "0",
                "jit": "off",
                **OF_LOOKS,
            },
        )
    try:
        with translate_errors():
            connection.add_termination_listener(lambda _: wake())
            await connection.add_listener(CHANNEL, told)
            await connection.add_listener(RECALLS, lambda *heard: recall(str(heard[-1])))
            await connection.add_listener(TARGETS, lambda *_: check())
            # Before its first uuid[] asyncpg asks the server what that is, which takes longer than
            # fifty looks: not in the first look, whose length decides how soon another one may be.
            await connection.prepare("select $1::uuid[]")
            if await is_pooled(connection):
                await require_notification(url, CHANNEL, arrived)
        yield Session(connection)
    except (DatabaseUnavailable, PoolerInTheWay):
        connection.terminate()  # no server is there to close the session with
        raise
    finally:
        try:
            await connection.close(timeout=1.0)
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
            connection.terminate()
        except asyncio.CancelledError:
            connection.terminate()
            raise
