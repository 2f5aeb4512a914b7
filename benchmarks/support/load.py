"""Fills the tables with what has been there for long: without triggers, indexes as they are."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

CHUNK = 250_000
WRITERS = 2
DAYS = 29
JOBS = """
insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at, unchecked, tags)
select 'http', jsonb_build_object('url', $2 || n), at, at, at, now(), false,
       case when n % 1000 = 0 then array['rare'] else '{}' end
from (select n, now() + interval '1 day' + random() * interval '300 days' as at
      from generate_series(1, $1::bigint) n) as far
"""
STATES = {
    "finished": "next_run = null, last_outcome = 'succeeded', last_finished_at = now(), runs = 1",
    "failed": "next_run = null, last_outcome = 'failed', last_finished_at = now(), runs = 1",
    "paused": "paused_at = now()",
    "invalid": "plan_error = 'no instance can plan this'",
    "retrying": "attempt = 1, fence = 1",
    "executing": """attempt = 1, fence = 1, locked_by = 'gone',
        locked_until = now() + interval '6 hours', claimed_at = now(), claimed_for = next_run,
        claimed_attempt = 1, execution_id = 1""",
    "of no kind": "kind = 'pager'",
    "of few": "kind = 'amqp'",
    "with runs": "pending_runs = 1",
}
"""What makes jobs that are planned ones of each sort."""
SORT = """
insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at, validated,
                         description, name)
select 'http', '{"url": "http://x/"}', at, at, at, now(), true, $2::text,
       format('old %s %s', $2::text, n)
from (select n, now() + interval '1 day' + random() * interval '20 days' as at
      from generate_series(1, $1::bigint) n) as soon
"""
RUNS = """
insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at, validated,
                         unchecked, run_of, request, attempt, locked_until, locked_by)
select kind, target, now(), now() + interval '5 hours', now(), now(), true, null, id, 'run_now',
       case when n % 20 < 2 then 1 else 0 end,
       case when n % 20 = 0 then now() + interval '6 hours' end,
       case when n % 20 = 0 then 'gone' end
from (select j.*, row_number() over () as n from tocsin.jobs j where pending_runs > 0) as asked
"""
PARTITION = """
create table if not exists tocsin.executions_{day:%Y%m%d} partition of tocsin.executions
for values from ('{day:%Y-%m-%d} 00:00Z') to ('{next:%Y-%m-%d} 00:00Z')
"""
EXECUTIONS = """
insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, started_at,
                               finished_at, instance, status_code)
select known.ids[1 + n % array_length(known.ids, 1)], n, 'http', moment, 1,
       case when n % 100 = 0 then 'failed' else 'succeeded' end,
       moment, moment, 'bench:1:0000', 200
from (select array_agg(id) as ids from (select id from tocsin.jobs limit 10000) as sample) as known,
     (select n, now() - ($2 - n::float8 / $1) * interval '1 day' as moment
      from generate_series(1, $1::bigint) n) as past
"""


async def jobs(url: str, count: int, *, base_url: str = "http://127.0.0.1:9/") -> None:
    """Put in jobs that are due in one day to 301, none of which rings."""
    sizes = [min(CHUNK, count - done) for done in range(0, count, CHUNK)]
    await write(url, JOBS, [(size, base_url) for size in sizes])


async def jobs_of_all_sorts(url: str, count: int) -> None:
    """Put in jobs of which the oldest, up to a hundredth, are some of each state and have runs.

    So a list that reads what it does not show has to pass all of the others. The indexes are built
    at the end, which takes a third of the time.
    """
    connection = await asyncpg.connect(url)
    indexes = await connection.fetch(
        """select indexname, indexdef from pg_indexes
           where schemaname = 'tocsin' and tablename = 'jobs' and indexname <> 'jobs_pkey'"""
    )
    for index in indexes:
        await connection.execute(f"drop index tocsin.{index['indexname']}")
    await connection.execute("set session_replication_role = replica")  # no triggers
    each = max(3, min(5_000, count // 1_000))
    for name, made in STATES.items():
        await connection.execute(SORT, each, name)
        await connection.execute(f"update tocsin.jobs set {made} where description = $1", name)
    await connection.execute(RUNS)
    done = await connection.fetchval("select count(*) from tocsin.jobs")
    await jobs(url, count - done)
    for index in indexes:
        await connection.execute(index["indexdef"], timeout=900)
    await connection.close()
    await vacuum(url)


async def executions(url: str, count: int) -> None:
    """Put in executions of some of the jobs, oldest first, over the days that are kept."""
    connection = await asyncpg.connect(url)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(1, DAYS + 1):
        day = today - timedelta(days=ago)
        await connection.execute(PARTITION.format(day=day, next=day + timedelta(days=1)))
    await connection.close()
    daily, rest = divmod(count, DAYS)
    days = [(daily + (ago <= rest), ago) for ago in range(DAYS, 0, -1)]
    await write(url, EXECUTIONS, [day for day in days if day[0]])


async def write(url: str, statement: str, chunks: Sequence[tuple[object, ...]]) -> None:
    """Run a statement with the arguments of each chunk, more than one at a time."""
    waiting = list(reversed(chunks))

    async def write_some() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("set session_replication_role = replica")  # no triggers
        await connection.execute("set synchronous_commit = off")
        while waiting:
            await connection.execute(statement, *waiting.pop(), timeout=600)
        await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write_some())
    await vacuum(url)


async def vacuum(url: str) -> None:
    """Let no vacuum of the load itself fall into what is measured."""
    connection = await asyncpg.connect(url)
    await connection.execute("vacuum analyze", timeout=1800)
    await connection.execute("checkpoint", timeout=600)
    await connection.close()
