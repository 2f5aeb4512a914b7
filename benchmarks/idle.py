"""What an instance costs while nothing is due: queries and CPU a minute, and memory.

Jobs lie a day ahead. Queries are those that pg_stat_statements counts for the contestant's
database, all connections together, after the start-up has settled.
"""

import argparse
import asyncio
import time

from benchmarks import bare
from benchmarks.support import load, options, results
from benchmarks.support.contestants import Contestant, Job, Tocsin, chosen
from benchmarks.support.postgres import Postgres, reset_statements, statements
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

FAR_SECONDS = 86_400
SETTLING_SECONDS = 5.0


async def idle(
    contestant: Contestant, postgres: Postgres, receiver: Receiver, *, jobs: int, seconds: float
) -> Row:
    """Load far-future jobs and watch an instance sleep."""
    await contestant.prepare(postgres, receiver.base_url)
    if isinstance(contestant, Tocsin):
        await load.jobs(contestant.url, jobs, base_url=receiver.base_url)
    else:
        far = time.time() + FAR_SECONDS
        await contestant.enqueue([Job(number, far + number / 1e3) for number in range(jobs)])
    with contestant.working() as workers:
        await asyncio.sleep(SETTLING_SECONDS)
        await reset_statements(contestant.url)
        before, database_before = workers.cpu_seconds(), postgres.cpu_seconds()
        await asyncio.sleep(seconds)
        workers.check()
        cpu = workers.cpu_seconds() - before
        database_cpu = postgres.cpu_seconds() - database_before
        rss = workers.rss_megabytes()
        counted = await statements(contestant.url)
    calls = sum(int(str(one["calls"])) for one in counted if "pg_stat_" not in str(one["query"]))
    return {
        "contestant": contestant.name,
        "jobs": jobs,
        "queries/min": calls / seconds * 60,
        "CPU ms/min": cpu / seconds * 60e3,
        "Postgres CPU ms/min": database_cpu / seconds * 60e3,
        "RSS MB": rss,
    }


async def measure(options_: argparse.Namespace) -> None:
    """Measure every contestant with `jobs`, and the product with `many` too."""
    jobs, many, seconds = (
        (1_000, 100_000, 12.0)
        if options_.quick
        else (int(options_.jobs), int(options_.many), options_.seconds)
    )
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        contestants = [(one, jobs) for one in chosen(options_.peers)]
        if many:
            contestants.append((Tocsin(), many))
        for contestant, count in contestants:
            rows.append(await idle(contestant, postgres, receiver, jobs=count, seconds=seconds))
            print(results.table(rows[-1:]), flush=True)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "idle",
        title="Idle",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    labelled = [
        {**row, "who": f"{row['contestant']}, {results.shown(row['jobs'])}"} for row in rows
    ]
    results.bars(
        "idle",
        labelled,
        label="who",
        values=["queries/min"],
        axis="",
        log=True,
        quick=options_.quick,
    )


if __name__ == "__main__":
    options.run(measure, about=__doc__, jobs=100_000, many=5_000_000, seconds=120)
