"""Whether the memory of an instance stays flat.

One instance carries out due jobs; its resident memory is read before the first, idle, and after
each tenth. The first tenth warms it up; the run fails where the rest adds more than a tenth to it.
"""

import argparse
import asyncio
import time

import asyncpg

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.processes import Running
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

TENTHS = 10
IDLE_SECONDS = 5.0
DUE = """
insert into tocsin.jobs (kind, target, run_at)
select 'http', jsonb_build_object('url', $1 || n), now() from generate_series(1, $2::bigint) n
"""


async def tenth(
    connection: asyncpg.Connection, workers: Running, receiver: Receiver, *, jobs: int
) -> float:
    """Have some jobs carried out; return how many a second."""
    receiver.reset()
    started = time.monotonic()
    await connection.execute(DUE, receiver.base_url, jobs, timeout=600)
    while await connection.fetchval(
        "select exists (select from tocsin.jobs where next_run is not null)"
    ):
        workers.check()
        await asyncio.sleep(0.2)
    await connection.execute("delete from tocsin.jobs", timeout=600)
    return jobs / (time.monotonic() - started)


async def measure(options_: argparse.Namespace) -> None:
    """Read the memory while it works."""
    executions = 20_000 if options_.quick else int(options_.executions)
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        contestant = Tocsin()
        await contestant.prepare(postgres, receiver.base_url)
        connection = await asyncpg.connect(contestant.url)
        with contestant.working() as workers:
            await asyncio.sleep(IDLE_SECONDS)
            rows.append({"executions": 0, "RSS MB": workers.rss_megabytes()})
            for number in range(1, TENTHS + 1):
                rate = await tenth(connection, workers, receiver, jobs=executions // TENTHS)
                rows.append(
                    {
                        "executions": executions // TENTHS * number,
                        "RSS MB": workers.rss_megabytes(),
                        "jobs/s": rate,
                    }
                )
                print(results.table(rows[-1:]), flush=True)
        await connection.close()
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "memory",
        title=f"Memory over {executions:,} executions",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    warm, last = float(str(rows[1]["RSS MB"])), float(str(rows[-1]["RSS MB"]))
    if last > warm * 1.1:
        raise AssertionError(f"memory grew from {warm:.1f} to {last:.1f} MB")


if __name__ == "__main__":
    options.run(measure, about=__doc__, executions=1_000_000)
