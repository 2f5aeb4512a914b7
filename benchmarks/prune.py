"""What pruning costs: dropping a day's partition beside deleting its rows, and beside traffic.

The wait is the longest that an INSERT into today's partition took while the pruning went on.
"""

import argparse
import asyncio
import time

import asyncpg

from benchmarks import bare
from benchmarks.support import load, options, results
from benchmarks.support.postgres import Postgres
from benchmarks.support.results import Row

INSERT = """
insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome)
values (gen_random_uuid(), 'http', now(), 1, 'succeeded')
"""
WAYS = {
    "drop partitions": "select partitions from tocsin.prune(15)",
    "delete rows": "delete from tocsin.executions where finished_at < now() - interval '7 days'",
}


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


async def measure(options_: argparse.Namespace) -> None:
    """Drop first, then delete about as much of what is left."""
    executions = 100_000 if options_.quick else int(options_.executions)
    rows: list[Row] = []
    with Postgres.running(programs=options_.postgres) as postgres:
        url = await postgres.fresh("prune", tocsin=True)
        await load.jobs(url, 1_000)
        await load.executions(url, executions)
        connection = await asyncpg.connect(url)
        for way, statement in WAYS.items():
            before = await connection.fetchval(
                "select count(*) from tocsin.executions", timeout=600
            )
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
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "prune",
        title=f"Pruning about half of {executions:,} executions",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )


if __name__ == "__main__":
    options.run(measure, about=__doc__, executions=10_000_000)
