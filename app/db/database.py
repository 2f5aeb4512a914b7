"""The connection pool, which runs all statements but the looks, the upkeep and migrations."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Generic, Literal, Protocol, TypeVar

import asyncpg
from msgspec import Struct

from app.core.access.key_limits import NO_LIMITS, KeyLimits
from app.db.connecting import CONNECT_TIMEOUT_SECONDS, connect
from app.db.connections import OF_API
from app.db.errors import CAUGHT, translate_errors
from app.db.queries import Query, query
from app.errors import CancellationCaught

COMMAND_TIMEOUT_SECONDS = 15.0
"""How long Postgres may take to answer any statement."""
GIVE_BACK_SECONDS = 1.0
"""How long the pool may take to cancel a statement that timed out and to reuse its connection."""

CAUGHT_SECONDS = 0.5
"""How much longer than its limit a statement of limited time may take. A statement that goes on has
caught its cancellation, as a user's trigger can, and its session is ended."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page ends with the row that passes this size: about twelve jobs of the largest size."""
MAX_SEARCHED = 100_000
"""How many rows a page is searched for by what no index serves: up to half a second's work. A page
that has fewer items by then is short, and the list goes on behind the last row searched."""
MAX_LOOKED_UP = 10_000
"""How many rows a page is searched for if each of them takes a look into another table."""
READ_AT_ONCE = 51
"""How many rows of a page are fetched at a time: a usual page and one row of the next."""

ItemT = TypeVar("ItemT")
Row = asyncpg.Record
"""A row as asyncpg returns it; functions of this package turn rows into Structs."""


class Runner(Protocol):
    """Runs named queries: the pool (`Database`), or one session."""

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows."""


class Rows(Struct, frozen=True, kw_only=True):
    """The rows of a page."""

    rows: list[Row]
    more: bool
    """Whether the list goes on after these rows."""
    end: Row | None = None
    """The row at which the search for these rows ended; None if that is the end of the list."""


class Page(Struct, Generic[ItemT], frozen=True, kw_only=True):
    """A part of a list."""

    items: list[ItemT]
    more: bool
    """Whether the list goes on after these items."""
    reached: Any = None
    """The key after which the list goes on; None stands for the key of the last item."""

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self.items)


class Patience:
    """A time-out that adapts: short at first, doubled after each time-out.

    Only a time-out reveals a half-open connection. A short one finds it soon, for callers that
    repeat their statement. As the time-out doubles up to `COMMAND_TIMEOUT_SECONDS`, a database
    that is merely slow still gets to answer.
    """

    def __init__(self, shortest: float) -> None:
        self.shortest = shortest
        self.seconds = shortest

    def __repr__(self) -> str:
        return f"Patience({self.seconds:.3f} s)"

    def lengthen(self, waited: float) -> None:
        """Double the time-out, as no answer came within `waited` seconds."""
        self.seconds = min(max(self.seconds, 2 * waited), COMMAND_TIMEOUT_SECONDS)

    def adjust(self, *, within: float) -> None:
        """Set the time-out to twice the `within` seconds that an answer took."""
        self.seconds = min(max(self.shortest, 2 * within), COMMAND_TIMEOUT_SECONDS)


class Database:
    """A pool of connections; each statement takes a connection only while the statement runs.

    `actor` is named in the audit log as the author of changes; if empty, only the database user is.
    `limits` are those that the jobs keep to which the actor writes.
    """

    page_isolation: Literal["repeatable_read"] | None = "repeatable_read"
    """The isolation of a page whose end is searched for by a statement of its own."""
    defers = True  # whether a statement may have something deferred to its end, see `run`

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        actor: str = "",
        limits: KeyLimits = NO_LIMITS,
        patience: Patience | None = None,
        limited: bool = False,
    ) -> None:
        self.pool = pool
        self.actor = actor
        self.limits = limits
        self.patience = patience or Patience(COMMAND_TIMEOUT_SECONDS)
        self.limited = limited
        """Whether Postgres cancels what takes too long."""
        self.search_share = 1.0
        """How much of what a search may look at it does look at; a list goes on from there."""

    @classmethod
    @asynccontextmanager
    async def connect(  # noqa: PLR0913 - one keyword for each way in which pools differ
        cls,
        url: str,
        *,
        application_name: str,
        max_connections: int = OF_API,
        patience_seconds: float = COMMAND_TIMEOUT_SECONDS,
        settings: Mapping[str, str] | None = None,
        limit_seconds: float | None = None,
        connection_class: type[asyncpg.Connection] = asyncpg.Connection,
    ) -> AsyncIterator["Database"]:
        """Open the pool, which connects with its first statement, and close it at the end.

        `patience_seconds` is the first time-out, for callers that repeat a statement that timed
        out; see `Patience`. `settings` are further ones of each session. `limit_seconds`: how long
        a statement may take until Postgres cancels it, or half as long for a lock; None: any time.
        """

        async def limit(connection: asyncpg.Connection) -> None:
            if limit_seconds is None:
                return
            await connection.prepare("select $1::uuid[]")  # asks for types, which may take long
            await connection.execute(
                f"set statement_timeout = {limit_seconds * 1000:.0f};"
                f"set lock_timeout = {limit_seconds * 500:.0f}"
            )

        pool = await asyncpg.create_pool(  # type: ignore[call-overload] # `connect` passes options on
            url,
            min_size=0,
            max_size=max_connections,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            reset=skip_reset,
            connect=connect,
            connection_class=connection_class,
            init=limit,
            server_settings={
                "application_name": application_name,
                "jit": "off",
                "timezone": "UTC",  # instants inside JSON then end in +00:00
                **(settings or {}),
            },
        )
        try:
            if limit_seconds is not None:  # Postgres cancels sooner, unless a function catches that
                patience_seconds = limit_seconds + CAUGHT_SECONDS
            yield cls(pool, patience=Patience(patience_seconds), limited=limit_seconds is not None)
        finally:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    await pool.close()
            except TimeoutError:
                pool.terminate()  # a dead connection must not hold up the end

    def __repr__(self) -> str:
        used = self.pool.get_size() - self.pool.get_idle_size()
        actor = f", actor={self.actor!r}" if self.actor else ""
        return f"Database({used} of {self.pool.get_size()} connections in use{actor})"

    def acting_for(self, actor: str, *, limits: KeyLimits = NO_LIMITS) -> "Database":
        """Return the same pool, with `actor` as the author of changes in the audit log."""
        return Database(self.pool, actor=actor, limits=limits, patience=self.patience)

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        statement = query(name)
        with translate_errors():
            return await self.execute(statement, self.values(statement, arguments))

    async def execute(self, statement: Query, values: Sequence[Any]) -> list[Row]:
        """Run a statement on a connection of the pool, with the time-out of `patience`."""
        connection = await self.pool.acquire()
        pid = connection.get_server_pid()
        patience = self.patience.seconds
        try:
            began = monotonic()
            rows: list[Row] = await self.run(connection, statement, values, seconds=patience)
            if not self.limited:
                self.patience.adjust(within=monotonic() - began)
        except TimeoutError:
            if not self.limited:
                self.patience.lengthen(patience)
            # If one connection is half-open, all others may be: have each opened anew.
            await self.pool.expire_connections()
            with suppress(OSError, TimeoutError, asyncpg.InterfaceError):
                await self.pool.release(connection, timeout=GIVE_BACK_SECONDS)
            if self.limited and await self.end_session(pid, seconds=patience):
                raise CancellationCaught(CAUGHT) from None
            raise
        except BaseException:
            await self.pool.release(connection)
            raise
        await self.pool.release(connection)
        return rows

    async def end_session(self, pid: int, *, seconds: float) -> bool:
        """End the session of a statement that goes on after `seconds`, although cancelled.

        Return whether there was such a statement; False as well if the database is away.
        """
        ending = query("isolating.end_session")
        with suppress(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
            async with self.pool.acquire() as connection:
                values = ending.arguments({"pid": pid, "seconds": seconds})
                return bool(await connection.fetch(ending.sql, *values, timeout=seconds))
        return False

    async def run(
        self,
        connection: "asyncpg.pool.PoolConnectionProxy[Row]",
        statement: Query,
        values: Sequence[Any],
        *,
        seconds: float,
    ) -> list[Row]:
        """Run a statement; where time is limited, with all that users deferred to its end.

        Postgres neither cancels a COMMIT nor tells whose trigger has failed in one. A statement
        that writes no row has nothing deferred: the limits of the session are enough.
        """
        if statement.reads or not (self.limited and self.defers):
            rows: list[Row] = await connection.fetch(statement.sql, *values, timeout=seconds)
            return rows
        transaction = connection.transaction()
        await transaction.start()
        try:
            rows = await connection.fetch(statement.sql, *values, timeout=seconds)
            await connection.execute("set constraints all immediate", timeout=seconds)
        except TimeoutError:
            connection.terminate()  # a ROLLBACK would wait for what goes on
            raise
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()
        return rows

    @asynccontextmanager
    async def session(self) -> AsyncIterator["asyncpg.pool.PoolConnectionProxy[Row]"]:
        """Take a connection of the pool for some statements.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        with translate_errors():
            async with self.pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Run statements as one transaction, which any error undoes; raises what `session` does."""
        async with self.session() as connection, connection.transaction():
            yield Transaction(self, connection)

    async def fetch_filtered(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run a query with optional filters, planned anew for the filters that are given.

        With `fetch`, Postgres would settle for one plan for all combinations of filters.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        wanted = query(name)
        async with self.session() as connection:
            statement = await connection.prepare(wanted.sql)
            return await statement.fetch(*wanted.arguments(arguments))

    async def fetch_page(
        self,
        name: str,
        /,
        *,
        limit: int,
        end: str | None = None,
        **arguments: Any,  # noqa: ANN401
    ) -> "Rows":
        """Run a query with optional filters, up to `limit` rows or `MAX_PAGE_BYTES` of text.

        A cursor has Postgres produce rows only as they are read. `end`: the query for the row that
        the search ends with, in a list of which a page searches only a part; this query takes
        some of the arguments, and sees what the page saw.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        wanted = query(name)
        values = wanted.arguments(arguments | {"limit": limit + 1})
        rows: list[Row] = []
        size = 0
        isolation = self.page_isolation if end else None
        async with (
            self.session() as connection,
            connection.transaction(isolation=isolation, readonly=True),
        ):
            statement = await connection.prepare(wanted.sql)
            async for row in statement.cursor(*values, prefetch=READ_AT_ONCE):
                if len(rows) == limit or size > MAX_PAGE_BYTES:
                    return Rows(rows=rows, more=True)
                rows.append(row)
                size += sum(len(value) for value in row.values() if isinstance(value, str))
            if end is None:
                return Rows(rows=rows, more=False)
            last = query(end)
            given = {one: arguments[one] for one in last.parameters}
            statement = await connection.prepare(last.sql)
            ended_with = await statement.fetchrow(*last.arguments(given))
        return Rows(rows=rows, more=ended_with is not None, end=ended_with)

    def values(self, statement: Query, arguments: dict[str, Any]) -> list[Any]:
        """Put the arguments in the statement's order, with the actor if the statement takes it."""
        if "actor" in statement.parameters:
            arguments |= {"actor": self.actor}
        return statement.arguments(arguments)


class Transaction:
    """Runs the statements of a transaction, one after the other, on its connection."""

    def __init__(self, db: Database, connection: "asyncpg.pool.PoolConnectionProxy[Row]") -> None:
        self.db = db
        self.limits = db.limits
        self.connection = connection

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows, as `Database.fetch` does.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        statement = query(name)
        values = self.db.values(statement, arguments)
        seconds = self.db.patience.seconds
        with translate_errors():
            try:
                rows: list[Row] = await self.connection.fetch(
                    statement.sql, *values, timeout=seconds
                )
            except TimeoutError:
                await self.give_up()
                raise
        return rows

    async def give_up(self) -> None:
        """Wait a moment until the last statement is cancelled, else close the connection.

        A half-open connection would keep the end of the transaction waiting.
        """
        await self.db.pool.expire_connections()
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self.connection.execute("rollback")
        except (OSError, TimeoutError, asyncpg.InterfaceError):
            self.connection.terminate()


Acting = Database | Transaction
"""What acts for somebody, by the `limits` of whose API key jobs are written."""


async def skip_reset(_connection: asyncpg.Connection) -> None:
    """Return a connection to the pool as it is.

    asyncpg would reset the session after each statement, which costs a round trip, and single
    statements leave nothing behind in a session.
    """
