"""Claims of jobs of a raised priority, which an instance makes even without room for others."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Unpack, cast

from msgspec import Struct

from app.db.claims import LOST, AskedSince, Look, ask, check_claimed, claim
from app.db.database import Database, Runner
from app.db.listener import HearingConnection
from app.db.own_connection import OwnConnection


class RaisedLook(Struct, frozen=True, kw_only=True):
    """What a look for jobs of a raised priority has found."""

    look: Look
    due: int
    """How many of them were due, of each level as far as was asked."""
    next_seconds: float | None
    """Seconds until the first one that is not due comes due; None if none was found."""


@asynccontextmanager
async def connection(db: Database, *, told: Callable[[], None]) -> AsyncIterator[Runner]:
    """Take a connection of the pool for some looks, each of which is a transaction of its own.

    To give it back after each, as the pool does, would take turns of the event loop before the
    answer is read. A statement that takes too long, or is not waited for any more, ends it.
    `told` is called on each notification from then on: no look at others is under way here, until
    the end of which Postgres would keep it back.

    Raises:
        AppError: see `app.db.errors.translate_errors`.
    """
    async with db.session() as one:
        hearing = cast("HearingConnection", one)
        hear_no_more = hearing.hear_no_more  # a connection that was ended is nobody's any more
        await hearing.hear(told)
        try:
            yield OwnConnection(db, one)
        finally:
            await hear_no_more()


async def look(session: Runner, **asked: Unpack[AskedSince]) -> RaisedLook:
    """Claim due jobs of a raised priority that go before all others."""
    found, rows = await ask(session, "claims.look_at_raised", **asked)
    claimed = [claim(row, found["begun_at"]) for row in rows]
    claimed, wait = await check_claimed(
        session, claimed, scope=found["pause_scope"], believed=asked.get("believed")
    )
    waits = [one for one in (found["raised_seconds"], wait) if one is not None]
    return RaisedLook(
        look=Look(
            claims=claimed,
            wakeup_seconds=None,
            blocked=False,
            unplanned=False,
            polling_seconds=None,
            lost=[LOST.decode(row["lost"]) for row in rows if row["lost"] is not None],
            record_error=found["record_error"],
            looked_until=found["looked_until"],
            begun_at=found["begun_at"],
            ended_at=found["ended_at"],
        ),
        due=found["raised_due"],
        next_seconds=min(waits, default=None),
    )
