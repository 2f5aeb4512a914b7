"""The connection pool, through which everything but the look speaks to Postgres."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
from msgspec import Struct

from app.db.connecting import CONNECT_TIMEOUT_SECONDS, connect
from app.db.errors import translate_errors
from app.db.queries import Query, query

COMMAND_TIMEOUT_SECONDS = 15.0
GIVE_BACK_SECONDS = 1.0
"""How long a connection whose statement was given up may take to become usable again."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page ends with the row that goes beyond; the longest job has a twelfth of it."""
READ_AT_ONCE = 51
"""Rows of a page that Postgres makes at a time."""

ItemT = TypeVar("ItemT")
Row = asyncpg.Record
"""A row as it comes; what leaves this package is made of Structs."""


class Runner(Protocol):
    """What runs a named query: the pool, or a session of its own."""

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows."""
        ...


class Rows(Struct, frozen=True, kw_only=True):
    """The rows of a page."""

    rows: list[Row]
    more: bool
    """Others come after them."""


class Page(Struct, Generic[ItemT], frozen=True, kw_only=True):
    """A part of a list."""

    items: list[ItemT]
    more: bool
    """Others come after them."""

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self.items)


class Patience:
    """How long an answer is waited for: briefly at first, and longer where answers take longer.

    A connection that is half-open never tells of it, so that only time does. Where a statement is
    called again when it was given up, a short wait finds such a connection soon; as it doubles up
    to the usual one, a database that is merely slow still gets to answer.
    """

    def __init__(self, shortest: float) -> None:
        self.shortest = shortest
        self.seconds = shortest

    def lost(self, waited: float) -> None:
        """No answer came in so many seconds."""
        self.seconds = min(max(self.seconds, 2 * waited), COMMAND_TIMEOUT_SECONDS)

    def answered(self, *, within: float) -> None:
        """An answer took so many seconds."""
        self.seconds = min(max(self.shortest, 2 * within), COMMAND_TIMEOUT_SECONDS)


class Database:
    """A pool of connections; each statement takes one for its own time only.

    `actor` is who the audit log is told of; empty: nobody but the database user.
    """

    def __init__(
        self, pool: asyncpg.Pool, *, actor: str = "", patience: Patience | None = None
    ) -> None:
        self.pool = pool
        self.actor = actor
        self.patience = patience or Patience(COMMAND_TIMEOUT_SECONDS)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        application_name: str,
        max_connections: int = 10,
        patience_seconds: float = COMMAND_TIMEOUT_SECONDS,
    ) -> AsyncIterator["Database"]:
        """Open the pool, connecting only when first asked, and close it at the end.

        `patience_seconds` is for those who call again what was given up: see `Patience`.
        """
        pool = await asyncpg.create_pool(  # type: ignore[call-overload] # `connect` passes options on
            url,
            min_size=0,
            max_size=max_connections,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            reset=nothing_to_reset,
            connect=connect,
            server_settings={
                "application_name": application_name,
                "jit": "off",
                "timezone": "UTC",  # instants inside JSON then end in +00:00
            },
        )
        try:
            yield cls(pool, patience=Patience(patience_seconds))
        finally:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    await pool.close()
            except TimeoutError:
                pool.terminate()  # a dead connection must not hold up the end

    def acting_for(self, actor: str) -> "Database":
        """The same pool, on behalf of somebody."""
        return Database(self.pool, actor=actor, patience=self.patience)

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            AppError: see `app.db.errors.translated`.
        """
        statement = query(name)
        with translate_errors():
            return await self.answer(statement.sql, self.values(statement, arguments))

    async def answer(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """Run a statement on a connection of the pool for as long as patience lasts."""
        connection = await self.pool.acquire()
        patience = self.patience.seconds
        try:
            began = monotonic()
            rows: list[Row] = await connection.fetch(sql, *values, timeout=patience)
            self.patience.answered(within=monotonic() - began)
        except TimeoutError:
            self.patience.lost(patience)
            # What has gone silent on one connection may have on all: let each be opened anew.
            await self.pool.expire_connections()
            with suppress(OSError, TimeoutError, asyncpg.InterfaceError):
                await self.pool.release(connection, timeout=GIVE_BACK_SECONDS)
            raise
        except BaseException:
            await self.pool.release(connection)
            raise
        await self.pool.release(connection)
        return rows

    async def fetch_filtered(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run a query with optional filters, planned anew for those that are given.

        `fetch` lets Postgres settle for one plan, whichever filters come later.

        Raises:
            AppError: see `app.db.errors.translated`.
        """
        wanted = query(name)
        with translate_errors():
            async with self.pool.acquire() as connection:
                statement = await connection.prepare(wanted.sql)
                return await statement.fetch(*wanted.arguments(arguments))

    async def fetch_page(self, name: str, /, *, limit: int, **arguments: Any) -> "Rows":  # noqa: ANN401
        """Run such a query, up to `limit` rows or `MAX_PAGE_BYTES` of text in them.

        Postgres makes rows only as they are read, some at a time.

        Raises:
            AppError: see `app.db.errors.translated`.
        """
        wanted = query(name)
        values = wanted.arguments(arguments | {"limit": limit + 1})
        rows: list[Row] = []
        size = 0
        with translate_errors():
            async with self.pool.acquire() as connection, connection.transaction(readonly=True):
                statement = await connection.prepare(wanted.sql)
                async for row in statement.cursor(*values, prefetch=READ_AT_ONCE):
                    if len(rows) == limit or size > MAX_PAGE_BYTES:
                        return Rows(rows=rows, more=True)
                    rows.append(row)
                    size += sum(len(value) for value in row.values() if isinstance(value, str))
        return Rows(rows=rows, more=False)

    def values(self, statement: Query, arguments: dict[str, Any]) -> list[Any]:
        """Put the arguments in order; a query that changes something is told who does it."""
        if "actor" in statement.parameters:
            arguments |= {"actor": self.actor}
        return statement.arguments(arguments)


async def nothing_to_reset(_connection: asyncpg.Connection) -> None:
    """Take a connection back as it is: single statements leave nothing behind in their session.

    asyncpg would ask Postgres to reset it after each of them, which costs a round trip.
    """
