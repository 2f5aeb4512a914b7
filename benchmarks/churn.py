"""What a recurring load leaves behind: size and dead rows of the hot table and its indexes.

Jobs recur every second, evenly spread over it, on one instance; the table is looked at ten times.
An hour of that, and then ten minutes during which a repeatable-read transaction stays open, so that
nothing dead can be vacuumed away: lateness is then what matters, and the run fails where p99
reaches a second. `--seconds` and `--old` say how long each takes; 0 leaves it out.
"""

import argparse
import asyncio
import time

import asyncpg

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

RECURRING = """
insert into tocsin.jobs (kind, target, every_seconds, starts_at)
select 'http', jsonb_build_object('url', $1 || n), 1,
       now() + interval '5 s' + n * interval '1 s' / $2::bigint
from generate_series(1, $2::bigint) n
"""
SIZES = """
select pg_relation_size('tocsin.jobs') / 1e6 as table_mb,
       pg_relation_size('tocsin.jobs_claimable') / 1e6 as index_mb,
       n_dead_tup as dead, n_tup_upd as updates,
       round(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1), 1)::float8 as hot_percent,
       autovacuum_count as vacuums
from pg_stat_user_tables where relid = 'tocsin.jobs'::regclass
"""
LATENESS = """
select percentile_cont(0.5) within group (order by lag) * 1e3 as p50,
       percentile_cont(0.99) within group (order by lag) * 1e3 as p99
from (select extract(epoch from started_at - scheduled_for) as lag from tocsin.executions
      where finished_at > now() - $1::float8 * interval '1 second'
        and outcome = 'succeeded') as recent
"""


async def churn(
    postgres: Postgres, receiver: Receiver, *, jobs: int, seconds: float, old_snapshot: bool
) -> list[Row]:
    """Let jobs recur and look at the table ten times meanwhile."""
    contestant = Tocsin()
    await contestant.prepare(postgres, receiver.base_url)
    connection = await asyncpg.connect(contestant.url)
    await connection.execute(RECURRING, receiver.base_url, jobs)
    reader = await asyncpg.connect(contestant.url)
    if old_snapshot:
        await reader.execute(
            "begin isolation level repeatable read; select 1 from tocsin.jobs limit 1"
        )
    rows: list[Row] = []
    started = time.monotonic()
    with contestant.working() as workers:
        for step in range(1, 11):
            await asyncio.sleep(max(0.0, started + step * seconds / 10 - time.monotonic()))
            workers.check()
            await connection.execute("select pg_stat_force_next_flush()")
            sizes = await connection.fetchrow(SIZES)
            late = await connection.fetchrow(LATENESS, seconds / 10)
            assert sizes is not None
            assert late is not None
            receiver.reset()
            rows.append(
                {
                    "old snapshot": old_snapshot,
                    "after s": round(time.monotonic() - started),
                    "updates": sizes["updates"],
                    "table MB": float(sizes["table_mb"]),
                    "claim index MB": float(sizes["index_mb"]),
                    "dead rows": sizes["dead"],
                    "HOT %": sizes["hot_percent"],
                    "vacuums": sizes["vacuums"],
                    "lateness p50 ms": late["p50"],
                    "lateness p99 ms": late["p99"],
                    "RSS MB": workers.rss_megabytes(),
                }
            )
            print(results.table(rows[-1:]), flush=True)
    await reader.close()
    await connection.close()
    return rows


async def measure(options_: argparse.Namespace) -> None:
    """Measure with and without an old snapshot."""
    seconds, old = (20.0, 20.0) if options_.quick else (options_.seconds, options_.old)
    jobs = 100 if options_.quick else int(options_.jobs)
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for old_snapshot, lasting in ((False, seconds), (True, old)):
            if lasting:
                rows += await churn(
                    postgres, receiver, jobs=jobs, seconds=lasting, old_snapshot=old_snapshot
                )
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "churn",
        title=f"Churn of {jobs} jobs that recur every second",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    if late := [row for row in rows if float(str(row["lateness p99 ms"])) >= 1000]:
        raise AssertionError(f"p99 reached a second:\n{results.table(late)}")


if __name__ == "__main__":
    options.run(measure, about=__doc__, minutes=80.0, seconds=3600, old=600, jobs=200)
