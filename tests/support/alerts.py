"""Rules, channels and executions for tests of alerts, and passes over what has happened."""

from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import json

from app.db import Database
from app.scheduler.alerts import Alerting
from app.telemetry import Observers
from tests.support.builders import insert_job
from tests.support.waiting import until

LATER = "2100-01-01 00:00Z"


async def insert_channel(connection: asyncpg.Connection, name: str, url: str, preset: str) -> None:
    """Insert a channel as a person would in psql."""
    await connection.execute(
        "insert into tocsin.alert_channels (name, preset, target) values ($1, $2, $3)",
        name,
        preset,
        json.encode({"url": url}).decode(),
    )


async def insert_rule(
    connection: asyncpg.Connection,
    *,
    name: str = "all",
    events: tuple[str, ...] = ("failed", "recovered"),
    **columns: Any,  # noqa: ANN401
) -> UUID:
    """Insert a rule as a person would in psql."""
    columns = {"name": name, "events": list(events)} | columns
    names = ", ".join(columns)
    values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    id: UUID = await connection.fetchval(
        f"insert into tocsin.alert_rules ({names}) values ({values}) returning id",
        *columns.values(),
    )
    return id


async def quiet_job(connection: asyncpg.Connection, **columns: Any) -> UUID:  # noqa: ANN401
    """Insert a job that nothing runs, to have executions written for it."""
    at = await connection.fetchval("select timestamptz '2100-01-01 00:00Z'")
    return await insert_job(connection, run_at=at, **columns)


async def ended(  # noqa: PLR0913 - the columns that matter
    connection: asyncpg.Connection,
    job_id: UUID,
    outcome: str = "failed",
    *,
    attempt: int = 5,
    reason: str | None = "status",
    error: str | None = "the target answered with status 500",
    id: int | None = None,
) -> None:
    """Have an execution of a run of its own end now, as a settlement writes it."""
    missed = outcome == "missed"
    await connection.execute(
        """with told as (
               update tocsin.jobs set last_outcome = $2, last_finished_at = clock_timestamp()
               where id = $1 and $2 <> 'missed')
           insert into tocsin.executions (
               id, job_id, kind, scheduled_for, attempt, outcome, reason, error, started_at,
               finished_at, missed_runs, missed_until)
           values (
               coalesce($6::bigint, nextval('tocsin.executions_id_seq')), $1, 'http',
               clock_timestamp(), $3, $2, $4, $5, clock_timestamp(), clock_timestamp(), $7,
               case when $7::bigint is not null then now() end)""",
        job_id,
        outcome,
        None if missed else attempt,
        None if outcome == "succeeded" else reason,
        None if outcome == "succeeded" else error,
        id,
        1 if missed else None,
    )


async def told(connection: asyncpg.Connection) -> list[tuple[str, str | None]]:
    """Return the event and job of all that was told, oldest first."""
    rows = await connection.fetch("select event, job from tocsin.alerts order by id")
    return [(row["event"], row["job"]) for row in rows]


async def judge_all(db: Database, connection: asyncpg.Connection) -> None:
    """Judge and send all that has happened so far; a pass can do so once marks are over."""
    latest = await connection.fetchval(
        "select coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0)"
    )
    began = await connection.fetchval("select clock_timestamp()")
    alerting = Alerting(db, Observers(), monotonic)

    async def is_judged() -> bool:
        await alerting.work()
        return bool(
            await connection.fetchval(
                """select after_id >= $1 and marked_at > $2
                       and mark_xid <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                   from tocsin.alert_cursor""",
                latest,
                began,
            )
        )

    await until(is_judged, "all that has happened is judged", within=60)
    await alerting.work()
