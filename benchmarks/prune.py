"""What pruning costs: days of executions, and one-off jobs that have expired.

`--executions` and `--expired` say how many there are; 0 leaves that part out.
"""

import argparse
import asyncio
import time

import asyncpg

from benchmarks import bare
from benchmarks.support import load, options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

INSERT = """
insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome)
values (gen_random_uuid(), 'http', now(), 1, 'succeeded')
"""
ABOUT_EXECUTIONS = """
What pruning costs: dropping a day's partition beside deleting its rows, and beside traffic.

The wait is the longest that an INSERT into today's partition took while the pruning went on.
""".strip()
ABOUT_JOBS = """
One-off jobs that have expired, inserted today through the triggers, so that the creation of each is
still to be written to the audit log. An instance that starts deletes them in steps, and carries out
20 jobs a second meanwhile. Ten minutes are the limit, and half a second for the start of any job.
""".strip()
WAYS = {
    "drop partitions": "select partitions from tocsin.prune(15)",
    "delete rows": "delete from tocsin.executions where finished_at < now() - interval '7 days'",
}
EXPIRED = """
insert into tocsin.jobs (
    kind, target, run_at, scheduled_for, planned_at, last_finished_at, last_outcome, runs)
select 'http', jsonb_build_object('url', 'http://127.0.0.1:9/' || n), at, at, at, at, 'succeeded', 1
from (select n, now() - interval '40 days' as at from generate_series(1, $1::bigint) n) as finished
"""
LEFT = """
select count(*) from tocsin.jobs where last_finished_at < now() - interval '30 days'
"""
RECURRING = """
insert into tocsin.jobs (kind, target, every_seconds, starts_at)
select 'http', jsonb_build_object('url', $1 || n), 1, now() + interval '5 s' + n * interval '50 ms'
from generate_series(1, 20) n
"""
LAGS = """
select extract(epoch from started_at - scheduled_for)::float8 as lag from tocsin.executions
where started_at is not null
"""


async def longest_wait(url: str, done: asyncio.Event) -> float:
    """Insert executions one by one until done; return the slowest, seconds."""
    connection = await asyncpg.connect(url)
    longest = 0.0
    while not done.is_set():
        started = time.perf_counter()
        await connection.execute(INSERT)
        longest = max(longest, time.perf_counter() - started)
    await connection.close()
    return longest


async def prune_executions(postgres: Postgres, executions: int) -> list[Row]:
    """Drop first, then delete about as much of what is left."""
    rows: list[Row] = []
    url = await postgres.fresh("prune", tocsin=True)
    await load.jobs(url, 1_000)
    await load.executions(url, executions)
    connection = await asyncpg.connect(url)
    for way, statement in WAYS.items():
        before = await connection.fetchval("select count(*) from tocsin.executions", timeout=600)
        done = asyncio.Event()
        writing = asyncio.create_task(longest_wait(url, done))
        await asyncio.sleep(0.2)
        started = time.perf_counter()
        await connection.execute(statement, timeout=1800)
        seconds = time.perf_counter() - started
        done.set()
        wait = await writing
        after = await connection.fetchval("select count(*) from tocsin.executions", timeout=600)
        rows.append(
            {
                "way": way,
                "rows gone": max(before - after, 0),
                "seconds": seconds,
                "longest wait of a writer ms": wait * 1e3,
            }
        )
        print(results.table(rows[-1:]), flush=True)
    await connection.close()
    return rows


async def prune_jobs(postgres: Postgres, receiver: Receiver, expired: int) -> Row:
    """Let an instance meet jobs that have expired, while others come due."""
    contestant = Tocsin()
    await contestant.prepare(postgres, receiver.base_url)
    connection = await asyncpg.connect(contestant.url)
    for done in range(0, expired, load.CHUNK):
        await connection.execute(EXPIRED, min(load.CHUNK, expired - done), timeout=1800)
    await load.vacuum(contestant.url)
    await connection.execute(RECURRING, receiver.base_url)
    with contestant.working() as workers:
        started = time.monotonic()
        while left := await connection.fetchval(LEFT, timeout=600):
            workers.check()
            print(f"{left:,} left after {time.monotonic() - started:.0f} s", flush=True)
            await asyncio.sleep(5)
        seconds = time.monotonic() - started
        await asyncio.sleep(2)
        lags = [row["lag"] for row in await connection.fetch(LAGS)]
    entries = await connection.fetchval("select count(*) from tocsin.audit_log", timeout=600)
    await connection.close()
    return {
        "way": "delete expired jobs in steps",
        "rows gone": expired,
        "seconds": seconds,
        "creations written": entries,
        "runs meanwhile": len(lags),
        "lag p50 ms": results.percentile(lags, 50) * 1e3,
        "lag p99 ms": results.percentile(lags, 99) * 1e3,
        "longest lag ms": max(lags) * 1e3,
    }


async def measure(options_: argparse.Namespace) -> None:
    """Prune executions, then jobs."""
    executions = 100_000 if options_.quick else int(options_.executions)
    expired = 20_000 if options_.quick else int(options_.expired)
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        on = results.machine(await bare.server_version(postgres.url("postgres")))
        if executions:
            results.write(
                "prune",
                title=f"Pruning about half of {executions:,} executions",
                notes=ABOUT_EXECUTIONS,
                rows=await prune_executions(postgres, executions),
                on=on,
                quick=options_.quick,
            )
        if expired:
            results.write(
                "prune_jobs",
                title=f"Pruning {expired:,} expired jobs",
                notes=ABOUT_JOBS,
                rows=[await prune_jobs(postgres, receiver, expired)],
                on=on,
                quick=options_.quick,
            )


if __name__ == "__main__":
    options.run(measure, about=__doc__, executions=10_000_000, expired=1_500_000)
