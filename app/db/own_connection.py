"""A connection of a pool that is kept for some statements, and ended with one that goes on."""

import asyncio
from typing import Any

from asyncpg.pool import PoolConnectionProxy

from app.db.database import Database, Row, Transaction
from app.db.errors import CAUGHT
from app.errors import CancellationCaught


class OwnConnection(Transaction):
    """Runs statements on one connection of a pool, each as the pool would: a transaction by itself.

    A statement that goes on when its time is over, or is not waited for any more, ends the
    connection: to give it back would take until the statement has ended.
    """

    def __init__(self, db: Database, connection: PoolConnectionProxy) -> None:
        super().__init__(db, connection)
        self.pid = connection.get_server_pid()

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows, as `Database.fetch` does.

        Raises:
            AppError: see `app.db.errors.translate_errors`.
        """
        try:
            return await super().fetch(name, **arguments)
        except asyncio.CancelledError:
            self.connection.terminate()
            raise

    async def give_up(self) -> None:
        """Close the connection, and end its session if its statement goes on.

        Raises:
            CancellationCaught: it did.
        """
        self.connection.terminate()
        await self.db.pool.expire_connections()
        if self.db.limited and await self.db.end_session(
            self.pid, seconds=self.db.patience.seconds
        ):
            raise CancellationCaught(CAUGHT) from None
