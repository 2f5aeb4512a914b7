"""One transaction for all statements of a request, which its end keeps or undoes as a whole."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from app.core.access.key_limits import NO_LIMITS, KeyLimits
from app.db.database import Database, Row, Transaction
from app.db.errors import translate_errors
from app.db.queries import Query

if TYPE_CHECKING:
    Connection = asyncpg.pool.PoolConnectionProxy[Row]


class Held(Database):
    """A database of which every statement runs on one connection, in one transaction.

    Its statements run one after the other. Each has a savepoint of its own, so that a refused one
    undoes nothing else, as without a transaction around them.
    """

    page_isolation = None  # that of the transaction has begun

    def __init__(self, db: Database, connection: "Connection") -> None:
        super().__init__(db.pool, actor=db.actor, limits=db.limits, patience=db.patience)
        self.connection = connection
        self.is_kept = False

    async def execute(self, statement: Query, values: Sequence[Any]) -> list[Row]:
        """Run a statement; one that is not answered in time ends the connection."""
        async with self.connection.transaction():
            try:
                rows: list[Row] = await self.connection.fetch(
                    statement.sql, *values, timeout=self.patience.seconds
                )
            except TimeoutError:
                self.connection.terminate()
                raise
        return rows

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Connection"]:
        """Give the one connection."""
        with translate_errors():
            yield self.connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run several statements under one savepoint, to which any error goes back."""
        async with self.session() as connection, connection.transaction():
            yield Part(self, connection)

    def acting_for(self, actor: str, *, limits: KeyLimits = NO_LIMITS) -> Database:
        """Return the same transaction with `actor` as the author of changes in the audit log."""
        self.actor, self.limits = actor, limits
        return self

    async def judge_deferred(self) -> None:
        """Have what users deferred to the end of the transaction judge now.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        with translate_errors():
            await self.connection.execute(
                "set constraints all immediate", timeout=self.patience.seconds
            )

    def keep(self) -> None:
        """Have the transaction committed at its end."""
        self.is_kept = True


class Part(Transaction):
    """Statements under one savepoint of a transaction that is held."""

    async def give_up(self) -> None:
        """Close the connection: a rollback alone would have what follows committed by itself."""
        await self.db.pool.expire_connections()
        self.connection.terminate()


@asynccontextmanager
async def hold(db: Database) -> AsyncIterator[Held]:
    """Open a transaction for all statements of a request; undo it at the end, unless it is kept.

    Raises:
        AppError: see `app.db.errors.translate_errors`.
    """
    with translate_errors():
        async with db.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            held = Held(db, connection)
            try:
                yield held
            except BaseException:
                with suppress(OSError, TimeoutError, asyncpg.InterfaceError):
                    await transaction.rollback()
                raise
            if held.is_kept:
                await transaction.commit()
            else:
                with suppress(OSError, TimeoutError, asyncpg.InterfaceError):
                    await transaction.rollback()
