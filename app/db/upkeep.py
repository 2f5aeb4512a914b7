"""What keeps the database in shape."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct

from app.db.connecting import connect
from app.db.database import Row, Runner
from app.db.errors import translate_errors
from app.db.queries import query
from app.errors import RightMissing, UpkeepRefused

ANSWER_SECONDS = 10.0
"""More than the statement time-out of the session: only a silent server takes as long."""


class Deleted(Struct, frozen=True, kw_only=True):
    """What a step over some pages deleted; how many rows refused to go, and why the last did."""

    rows: int
    refused: int = 0
    refusal: str | None = None


class Housekeeping:
    """A session of its own, which waits for locks for milliseconds only."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            UpkeepRefused: Postgres refused, for a reason that is not one of `translated`.
            AppError: see `app.db.errors.translated`.
        """
        statement = query(name)
        try:
            with translate_errors():
                return await self.connection.fetch(statement.sql, *statement.arguments(arguments))
        except RightMissing as error:
            raise UpkeepRefused(str(error)) from error
        except asyncpg.PostgresError as error:
            raise UpkeepRefused(error.args[0] if error.args else type(error).__name__) from error

    @property
    def is_lost(self) -> bool:
        """Whether nothing more can be asked here."""
        return bool(self.connection.is_closed())


@asynccontextmanager
async def housekeeping(url: str, *, application_name: str) -> AsyncIterator[Housekeeping | None]:
    """Open the session that does the upkeep; None while that of another instance does.

    Raises:
        AppError: there is no connection to be had.
    """
    with translate_errors():
        connection = await connect(
            url,
            command_timeout=ANSWER_SECONDS,
            server_settings={"application_name": application_name, "jit": "off"},
        )
    try:
        session = Housekeeping(connection)
        [row] = await session.fetch("upkeep.begin")
        yield session if row["leads"] else None
    finally:
        connection.terminate()  # which ends its locks


async def follow_clock(session: Runner) -> None:
    """Let the clock that history is pruned by follow the database's."""
    await session.fetch("upkeep.follow_clock")


async def keep_from(session: Runner, *, retention_days: float) -> datetime:
    """Return the instant before which history is pruned; the clock was followed once at least."""
    [row] = await session.fetch("upkeep.keep_from", retention_days=retention_days)
    instant: datetime = row["keep_from"]
    return instant


async def add_partition(session: Runner, *, days_ahead: int, most_bytes: int | None) -> bool:
    """Make sure that the executions of a day have a partition; tell whether one was made.

    A default partition of more than `most_bytes` is not scanned for rows of that day.
    """
    [row] = await session.fetch(
        "upkeep.add_partition", days_ahead=days_ahead, most_bytes=most_bytes
    )
    return bool(row["added"])


async def expired_partitions(session: Runner, *, keep_from: datetime) -> list[str]:
    """Name the partitions whose day has ended before, oldest first."""
    rows = await session.fetch("upkeep.expired_partitions", keep_from=keep_from)
    return [row["partition"] for row in rows]


async def drop_partition(session: Runner, partition: str, *, keep_from: datetime) -> bool:
    """Drop one of them; False if it is gone already."""
    [row] = await session.fetch("upkeep.drop_partition", partition=partition, keep_from=keep_from)
    return bool(row["dropped"])


async def pages(session: Runner, relation: str) -> int:
    """Count the pages of a table, from which `prune_pages` deletes."""
    [row] = await session.fetch("upkeep.pages", relation=relation)
    return int(row["pages"])


async def jobs_expired(session: Runner, *, pages: int, keep_from: datetime) -> bool:
    """Tell whether a walk through the jobs is due, or finds something."""
    [row] = await session.fetch("upkeep.jobs_expired", pages=pages, keep_from=keep_from)
    return bool(row["expired"])


async def prune_pages(
    session: Runner, name: str, *, first_page: int, pages: int, keep_from: datetime
) -> Deleted:
    """Delete what ended before, in some pages: `prune_jobs` or `prune_default`."""
    [row] = await session.fetch(
        f"upkeep.{name}", first_page=first_page, pages=pages, keep_from=keep_from
    )
    return Deleted(rows=row["deleted"], refused=row["refused"], refusal=row["refusal"])


async def prune_audit_log(
    session: Runner, *, after_id: int, most: int, keep_from: datetime
) -> int | None:
    """Delete old entries among the next `most`; return the id to go on after, None at the end."""
    [row] = await session.fetch(
        "upkeep.prune_audit_log", after_id=after_id, most=most, keep_from=keep_from
    )
    last_id: int | None = row["last_id"]
    return last_id


async def done(session: Runner, step: str, *, refused: int) -> None:
    """Write down for the doctor that a step came to its end; `refused` rows stayed."""
    await session.fetch("upkeep.done", step=step, refused=refused)


async def failed(session: Runner, step: str, *, error: str) -> None:
    """Write down for the doctor what kept a step from its end."""
    await session.fetch("upkeep.failed", step=step, error=error)


async def release_orphans(  # noqa: PLR0913 - as many as the query has
    db: Runner,
    *,
    instance: str,
    executing: Sequence[int],
    lease_seconds: float,
    aside: Sequence[UUID] = (),
    only: Sequence[UUID] | None = None,
) -> int:
    """Free the leases in this instance's name that it does not know of; return how many.

    Those of the jobs in `aside` and, where `only` is given, of all others than these stay.
    """
    rows = await db.fetch(
        "upkeep.release_orphans",
        instance=instance,
        executing=executing,
        lease_seconds=lease_seconds,
        aside=aside,
        only=only,
    )
    return len(rows)


async def orphans(
    db: Runner,
    *,
    instance: str,
    executing: Sequence[int],
    lease_seconds: float,
    aside: Sequence[UUID],
) -> list[UUID]:
    """Return the ids of the jobs whose leases `release_orphans` frees."""
    rows = await db.fetch(
        "upkeep.orphans",
        instance=instance,
        executing=executing,
        lease_seconds=lease_seconds,
        aside=aside,
    )
    return [row["id"] for row in rows]
