"""The session of an instance that listens for notifications and runs the looks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import asyncpg

from app.db.connecting import connect
from app.db.database import Row
from app.db.errors import translate_errors
from app.db.flood_guard import FloodGuard
from app.db.pooler import is_pooled, require_notification
from app.db.queries import query
from app.errors import DatabaseUnavailable, PoolerInTheWay

CHANNEL = "tocsin_jobs"
"""Notifications on this channel wake instances: some job is due earlier than was known."""
RECALLS = "tocsin_recalls"
"""The payload is the id of a job that was edited or deleted while an instance held its claim."""
TARGETS = "tocsin_targets"
"""A target was written in SQL that has to be checked before its run."""
FLOWS = "tocsin_flows"
"""The payload is a flow of which something may be claimed sooner; empty: any flow."""
BULK = "tocsin_bulk"
"""A bulk action was asked for, or left by the instance that worked on it."""
ALERTS = "tocsin_alerts"
"""There is a first alert rule, or a channel is to be tested."""
CALENDARS = "tocsin_calendars"
"""A calendar has to be worked out, or the jobs that use one replanned."""
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


Told = Callable[[str], None]
"""A function to which the payload of a notification is given."""


def deliver(told: Told, *heard: object) -> None:
    """Call what a channel calls; asyncpg gives the payload last."""
    told(str(heard[-1]))


class CountingConnection(asyncpg.Connection):
    """Counts notifications where they are read, and ends itself at one too many.

    asyncpg calls listeners after the event loop has read all there is, which may be a million.
    """

    guard: FloodGuard

    def _process_notification(self, pid: int, channel: str, payload: str) -> None:
        if self.guard.count(payload):
            self.pass_on(pid, channel, payload)
        elif not self.is_closed():
            self.terminate()

    def pass_on(self, pid: int, channel: str, payload: str) -> None:
        """Have asyncpg call the listeners of a channel."""
        super()._process_notification(pid, channel, payload)  # type: ignore[misc] # not in the stubs


class HearingConnection(CountingConnection):
    """A connection of a pool that tells of notifications of `CHANNEL` while it is asked to.

    It does so as they are read: asyncpg calls listeners a turn of the event loop later. That it has
    ended it tells of as well, as it hears nothing from then on.
    """

    told: Callable[[], None]

    async def hear(self, told: Callable[[], None]) -> None:
        """Call `told` on each notification from now on."""
        self.guard, self.told = FloodGuard(), told
        self.add_termination_listener(self.end_hearing)
        await self.add_listener(CHANNEL, ignore)

    async def hear_no_more(self) -> None:
        """Call nothing any more."""
        self.remove_termination_listener(self.end_hearing)
        await self.remove_listener(CHANNEL, ignore)

    def end_hearing(self, _: object) -> None:
        """Tell that the connection has ended."""
        self.told()

    def pass_on(self, _pid: int, _channel: str, _payload: str) -> None:
        """Tell of a notification at once."""
        self.told()


def ignore(*_: object) -> None:
    """Do nothing: `HearingConnection` tells of notifications itself."""


class Session:
    """A listening connection.

    A session is never pooled and never in a transaction, as either would keep notifications back.
    """

    def __init__(self, connection: CountingConnection, told: Mapping[str, Told]) -> None:
        self.connection = connection
        self.limit_seconds: float | None = None
        """How long a statement may take until Postgres cancels it; None for any time."""
        self.told = told
        """What each channel calls."""
        self.is_listening = False

    def __repr__(self) -> str:
        state = "closed" if self.connection.is_closed() else "open"
        return f"Session(pid {self.connection.get_server_pid()}, {state})"

    async def listen(self) -> None:
        """Begin to listen, unless that has begun or a flood was lately.

        Raises:
            DatabaseUnavailable: LISTEN failed.
        """
        if self.is_listening or self.connection.guard.is_paused:
            return
        with translate_errors():
            for channel, told in self.told.items():
                await self.connection.add_listener(channel, partial(deliver, told))
        self.is_listening = True

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
async def open_session(  # noqa: PLR0913 - what a session has to call
    url: str,
    *,
    wake: Callable[[], None],
    recall: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    flow: Callable[[str], None] = lambda _: None,
    bulk: Callable[[], None] = lambda: None,
    alerts: Callable[[], None] = lambda: None,
    calendars: Callable[[], None] = lambda: None,
    application_name: str,
    guard: FloodGuard | None = None,
) -> AsyncIterator[Session]:
    """Open a session that listens for notifications, or will once `guard` is paused no longer.

    `wake` is called on each notification of `CHANNEL` and when the connection is lost, `recall`
    with the payload of each notification of `RECALLS`, `check` on each notification of `TARGETS`,
    `flow` with the payload of each notification of `FLOWS`, `bulk` on each notification of `BULK`,
    `alerts` on each notification of `ALERTS`,
    `calendars` on each of `CALENDARS`.
    LISTEN has taken effect when this returns, so a look made afterwards misses no job.

    Raises:
        DatabaseUnavailable: no server answers at `url`, or LISTEN failed.
        PoolerInTheWay: a pooler between this process and Postgres loses notifications.
    """
    arrived = asyncio.Event()

    def woken(_: str) -> None:
        arrived.set()
        wake()

    told: dict[str, Told] = {
        CHANNEL: woken,
        RECALLS: recall,
        TARGETS: lambda _: check(),
        FLOWS: flow,
        BULK: lambda _: bulk(),
        ALERTS: lambda _: alerts(),
        CALENDARS: lambda _: calendars(),
    }

    with translate_errors():
        connection = await connect(
            url,
            command_timeout=LOOK_TIMEOUT_SECONDS,
            connection_class=CountingConnection,
            server_settings={
                "application_name": application_name,
                "idle_session_timeout": "0",
                "jit": "off",
                **OF_LOOKS,
            },
        )
    counting = cast("CountingConnection", connection)
    counting.guard = guard or FloodGuard()
    session = Session(counting, told)
    try:
        await session.listen()
        with translate_errors():
            connection.add_termination_listener(lambda _: wake())
            # Before its first uuid[] asyncpg asks the server what that is, which takes longer than
            # fifty looks: not in the first look, whose length decides how soon another one may be.
            await connection.prepare("select $1::uuid[]")
            if session.is_listening and await is_pooled(connection):
                await require_notification(url, CHANNEL, arrived)
        yield session
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
