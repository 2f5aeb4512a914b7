"""The connection pool, through which everything but the look speaks to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

from app.db.errors import translated
from app.db.queries import Query, query

COMMAND_TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 5.0

Row = asyncpg.Record
"""A row as it comes; what leaves this package is made of Structs."""


class Runner(Protocol):
    """What runs a named query: the pool, or a session of its own."""

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows."""
        ...


class Database:
    """A pool of connections; each statement takes one for its own time only.

    `actor` is who the audit log is told of; empty: nobody but the database user.
    """

    def __init__(self, pool: asyncpg.Pool, *, actor: str = "") -> None:
        self.pool = pool
        self.actor = actor

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, *, application_name: str, max_connections: int = 10
    ) -> AsyncIterator["Database"]:
        """Open the pool, connecting only when first asked, and close it at the end."""
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=max_connections,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            reset=nothing_to_reset,
            server_settings={
                "application_name": application_name,
                "jit": "off",
                "timezone": "UTC",  # instants inside JSON then end in +00:00
            },
        )
        try:
            yield cls(pool)
        finally:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    await pool.close()
            except TimeoutError:
                pool.terminate()  # a dead connection must not hold up the end

    def acting_for(self, actor: str) -> "Database":
        """The same pool, on behalf of somebody."""
        return Database(self.pool, actor=actor)

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            AppError: see `app.db.errors.translated`.
        """
        statement = query(name)
        with translated():
            return await self.pool.fetch(statement.sql, *self.values(statement, arguments))

    async def fetch_filtered(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run a query with optional filters, planned anew for those that are given.

        `fetch` lets Postgres settle for one plan, whichever filters come later.

        Raises:
            AppError: see `app.db.errors.translated`.
        """
        wanted = query(name)
        with translated():
            async with self.pool.acquire() as connection:
                statement = await connection.prepare(wanted.sql)
                return await statement.fetch(*wanted.arguments(arguments))

    def values(self, statement: Query, arguments: dict[str, Any]) -> list[Any]:
        """Put the arguments in order; a query that changes something is told who does it."""
        if "actor" in statement.parameters:
            arguments |= {"actor": self.actor}
        return statement.arguments(arguments)


async def nothing_to_reset(_connection: asyncpg.Connection) -> None:
    """Take a connection back as it is: single statements leave nothing behind in their session.

    asyncpg would ask Postgres to reset it after each of them, which costs a round trip.
    """
