"""The statements of upkeep: partitions, pruning."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
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
"""How long Postgres may take to answer: longer than the session's statement time-out, so that only
a silent server takes as long."""


Place = tuple[datetime, UUID]
"""The instant and the id of an alert, in the order of which they are deleted."""
BEFORE_ALL: Place = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


class Deleted(Struct, frozen=True, kw_only=True):
    """What a step of pruning deleted."""

    rows: int
    """How many rows were deleted."""
    refused: int = 0
    """How many rows Postgres refused to delete, for a user's trigger or foreign key."""
    refusal: str | None = None
    """The message of the last refusal."""


class UpkeepSession:
    """The one session that does upkeep; its statements wait for locks for milliseconds only."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        state = "lost" if self.is_lost else "open"
        return f"{type(self).__name__}(pid {self.connection.get_server_pid()}, {state})"

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows.

        Raises:
            UpkeepRefused: Postgres refused, for a reason that `translate_errors` passes on.
            AppError: see `app.db.errors.translate_errors`.
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
        """Whether the connection is closed."""
        return bool(self.connection.is_closed())


@asynccontextmanager
async def open_session(url: str, *, application_name: str) -> AsyncIterator[UpkeepSession | None]:
    """Open the session that does upkeep; yield None while another instance has such a session.

    Raises:
        AppError: no connection can be opened.
    """
    with translate_errors():
        connection = await connect(
            url,
            command_timeout=ANSWER_SECONDS,
            server_settings={"application_name": application_name, "jit": "off"},
        )
    try:
        session = UpkeepSession(connection)
        [row] = await session.fetch("upkeep.begin")
        yield session if row["leads"] else None
    finally:
        connection.terminate()  # which ends its locks


async def follow_clock(session: Runner, *, believed: datetime | None = None) -> None:
    """Let the trusted time, by which history is pruned, follow the database's clock.

    `believed`: the latest that the clock can show if it is right, where that is known.
    """
    await session.fetch("upkeep.follow_clock", believed=believed)


async def read_keep_from(session: Runner, *, retention_days: float) -> datetime:
    """Return the instant before which history is pruned; `follow_clock` has to run first."""
    [row] = await session.fetch("upkeep.keep_from", retention_days=retention_days)
    instant: datetime = row["keep_from"]
    return instant


async def add_partition(session: Runner, *, days_ahead: int, most_bytes: int | None) -> bool:
    """Add the partition for the executions of a day, `days_ahead`; return False if it exists.

    Rows of that day are moved out of the default partition, unless that has over `most_bytes`.
    """
    [row] = await session.fetch(
        "upkeep.add_partition", days_ahead=days_ahead, most_bytes=most_bytes
    )
    return bool(row["added"])


async def list_expired_partitions(session: Runner, *, keep_from: datetime) -> list[str]:
    """Name the partitions whose day ended before `keep_from`, oldest first."""
    rows = await session.fetch("upkeep.expired_partitions", keep_from=keep_from)
    return [row["partition"] for row in rows]


async def drop_partition(session: Runner, partition: str, *, keep_from: datetime) -> bool:
    """Drop a partition whose day ended before `keep_from`; return False if it is gone already."""
    [row] = await session.fetch("upkeep.drop_partition", partition=partition, keep_from=keep_from)
    return bool(row["dropped"])


async def count_pages(session: Runner, relation: str) -> int:
    """Count the pages (8 KB each) of a table, for `prune_pages`."""
    [row] = await session.fetch("upkeep.pages", relation=relation)
    return int(row["pages"])


async def has_expired_jobs(session: Runner, *, pages: int, keep_from: datetime) -> bool:
    """Return whether to prune jobs: not done for a day, or a sample of `pages` has one to prune."""
    [row] = await session.fetch("upkeep.jobs_expired", pages=pages, keep_from=keep_from)
    return bool(row["expired"])


async def prune_pages(
    session: Runner, name: str, *, first_page: int, pages: int, keep_from: datetime
) -> Deleted:
    """Delete rows that ended before `keep_from` in some pages of a table.

    `name` is the query: `prune_jobs`, or `prune_default` for the default partition.
    """
    [row] = await session.fetch(
        f"upkeep.{name}",
        first_page=first_page,
        pages=pages,
        keep_from=keep_from,
    )
    return Deleted(rows=row["deleted"], refused=row["refused"], refusal=row["refusal"])


async def prune_audit_log(
    session: Runner, *, after_id: int, most: int, keep_from: datetime
) -> int | None:
    """Delete old entries among the next `most`; return the last id, or None at the end."""
    [row] = await session.fetch(
        "upkeep.prune_audit_log", after_id=after_id, most=most, keep_from=keep_from
    )
    last_id: int | None = row["last_id"]
    return last_id


async def prune_alerts(
    session: Runner, *, after: Place, most: int, keep_from: datetime
) -> Place | None:
    """Delete old alerts among the next `most`; return the last of these, or None at the end."""
    rows = await session.fetch(
        "upkeep.prune_alerts", after_at=after[0], after_id=after[1], most=most, keep_from=keep_from
    )
    return (rows[0]["at"], rows[0]["id"]) if rows else None


async def prune_bulk_actions(session: Runner, *, keep_from: datetime) -> None:
    """Delete bulk actions that ended before `keep_from`."""
    await session.fetch("upkeep.prune_bulk_actions", keep_from=keep_from)


async def prune_idempotency_keys(session: Runner, *, believed: datetime | None = None) -> bool:
    """Delete some answers that were kept for a day; return whether there may be more of them.

    `believed`: see `follow_clock`.
    """
    [row] = await session.fetch("upkeep.prune_idempotency_keys", believed=believed)
    return bool(row["more"])


async def resume_runs(session: Runner) -> None:
    """Start runs beside the plan that wait although nothing is in their way; mend their counts."""
    await session.fetch("upkeep.resume_runs")


async def record_end(session: Runner, step: str, *, refused: int) -> None:
    """Record, for `tocsin doctor`, that a step ended without deleting `refused` rows."""
    await session.fetch("upkeep.done", step=step, refused=refused)


async def record_failure(session: Runner, step: str, *, error: str) -> None:
    """Record, for `tocsin doctor`, why a step of upkeep failed."""
    await session.fetch("upkeep.failed", step=step, error=error)
