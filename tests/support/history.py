"""Jobs and executions of long ago, as a database has that was used for months."""

from datetime import date, timedelta

import asyncpg

FINISHED = """
insert into tocsin.jobs (
    kind, target, run_at, scheduled_for, planned_at, last_finished_at, last_outcome, runs)
select 'http', '{"url": "http://127.0.0.1:9/"}', at, at, at, at, 'succeeded', 1
from (select now() - $2 * interval '1 day' as at from generate_series(1, $1)) as finished
"""

SPARE = timedelta(seconds=30)
"""Longer than a test takes: tests that count days do not begin so shortly before midnight (UTC)."""


async def begin_day(connection: asyncpg.Connection, *, spare: timedelta = SPARE) -> date:
    """Make the partitions those of a schema that is made today (UTC); return today.

    Less than `spare` before midnight, wait for midnight first.
    """
    await connection.execute(
        """select pg_sleep(extract(epoch from ends_at - clock_timestamp())::float8)
           from (select (date_trunc('day', now() at time zone 'UTC') + interval '1 day')
                     at time zone 'UTC' as ends_at) as today
           where ends_at - now() < $1""",
        spare,
    )
    today: date = await connection.fetchval("select (now() at time zone 'UTC')::date")
    for name in await partitions(connection) - set(week_from(today)):
        await connection.execute(f"drop table tocsin.{name}")
    await connection.execute("select tocsin.add_partitions()")
    return today


def week_from(today: date) -> list[str]:
    """Name the partitions of a schema that was made today."""
    return ["executions_default", *(name_of(today + timedelta(days=n)) for n in range(8))]


def name_of(day: date) -> str:
    return f"executions_{day:%Y%m%d}"


async def finished_jobs(connection: asyncpg.Connection, count: int, *, days_ago: float) -> None:
    """Insert one-off jobs that finished so long ago."""
    await connection.execute(FINISHED, count, days_ago, timeout=300)


async def old_day(connection: asyncpg.Connection, day: date, *, executions: int = 1) -> str:
    """Make the partition of a day with executions in it; return its name."""
    await connection.execute("select tocsin.add_partition($1)", day)
    await connection.execute(
        """insert into tocsin.executions (
               job_id, kind, scheduled_for, attempt, outcome, started_at, finished_at)
           select gen_random_uuid(), 'http', at, 1, 'succeeded', at, at
           from (select ($1::date + interval '1 hour') at time zone 'UTC' as at
                 from generate_series(1, $2)) as old""",
        day,
        executions,
    )
    return name_of(day)


async def partitions(connection: asyncpg.Connection) -> set[str]:
    """Name the partitions of executions that there are."""
    rows = await connection.fetch("select partition from tocsin.partitions()")
    return {row["partition"] for row in rows}
