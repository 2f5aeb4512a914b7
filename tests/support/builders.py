"""Short ways to put rows into a test's database."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import json

from app.db import Database, plans
from app.scheduler.planner import planned

URL = "http://127.0.0.1:9/nothing-listens-here"


async def insert_job(connection: asyncpg.Connection, **columns: Any) -> UUID:  # noqa: ANN401
    """Insert a job as a person would in psql: due now and for HTTP unless `columns` say else."""
    columns = {"kind": "http", "target": {"url": URL}} | columns
    if not columns.keys() & {"run_at", "cron", "every_seconds"}:
        columns["run_at"] = await connection.fetchval("select now()")
    for name in ("target", "metadata"):
        if name in columns:
            columns[name] = json.encode(columns[name]).decode()
    names = ", ".join(columns)
    values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"insert into tocsin.jobs ({names}) values ({values}) returning id"
    job_id: UUID = await connection.fetchval(statement, *columns.values())
    return job_id


async def plan_jobs(db: Database) -> None:
    """Plan the recurring jobs that were inserted or edited in SQL, as an instance does at once."""
    written = 1
    while written:
        computed = [planned(job, now=datetime.now(UTC)) for job in await plans.list_unplanned(db)]
        written = len((await plans.write(db, computed)).written)


async def job_row(connection: asyncpg.Connection, job_id: UUID) -> asyncpg.Record:
    """Return all columns of a job, and its state."""
    row = await connection.fetchrow(
        "select tocsin.state(j) as state, j.* from tocsin.jobs j where id = $1", job_id
    )
    assert row is not None
    return row


async def run_rows(connection: asyncpg.Connection, job_id: UUID) -> list[asyncpg.Record]:
    """Return the runs of a job beside its plan that are not over, in their order."""
    rows: list[asyncpg.Record] = await connection.fetch(
        "select * from tocsin.jobs where run_of = $1 order by id", job_id
    )
    return rows


async def execution_rows(connection: asyncpg.Connection, job_id: UUID) -> list[asyncpg.Record]:
    """Return the executions of a job, oldest first."""
    rows: list[asyncpg.Record] = await connection.fetch(
        "select * from tocsin.executions where job_id = $1 order by id", job_id
    )
    return rows
