"""A job of a raised priority amid a storm of usual ones: from its INSERT to its request.

All jobs of the storm come due at one instant. From then on, while most of them still wait, single
jobs are inserted that are due at once, by turns of the priorities 0 and 1. Those of 0 came due
last, and wait for the storm.
"""

import argparse
import asyncio
import json
import time

import asyncpg
import uvloop

from benchmarks import bare
from benchmarks.insert_to_fire import listening
from benchmarks.support import options, results
from benchmarks.support.contestants import Job, Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

PAUSE_SECONDS = 0.05
FIRST_PROBE = 10_000_000
INSERT = """insert into tocsin.jobs (kind, target, run_at, priority)
            values ('http', $1, clock_timestamp(), $2)"""


async def amid_storm(
    tocsin: Tocsin, postgres: Postgres, receiver: Receiver, *, jobs: int, copies: int
) -> list[Row]:
    """Let a storm come due, and time single jobs of two priorities until half of it is over."""
    await tocsin.prepare(postgres, receiver.base_url)
    receiver.reset()
    inserted: dict[int, list[float]] = {0: [], 1: []}
    instant = float(int(time.time() + 10 + jobs / 2_000))
    await tocsin.enqueue([Job(number, instant) for number in range(jobs)])
    connection = await asyncpg.connect(tocsin.url)
    statement = await connection.prepare(INSERT)
    with tocsin.working(copies=copies) as workers:
        await listening(tocsin)
        await asyncio.sleep(max(0.0, instant + 0.1 - time.time()))
        number = 0
        while receiver.count() < jobs / 2:
            priority = number % 2
            target = json.dumps({"url": f"{receiver.base_url}{FIRST_PROBE + number}"})
            inserted[priority].append(time.time())
            await statement.fetch(target, priority)
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)
        arrivals = await receiver.wait_for(
            jobs + number, seconds=60 + jobs / 200, check=workers.check
        )
    await connection.close()
    at = {arrival.number: arrival.at for arrival in arrivals}
    last = max(time_ for number_, time_ in at.items() if number_ < FIRST_PROBE)
    rows: list[Row] = []
    for priority, starts in inserted.items():
        waits = [
            at[FIRST_PROBE + 2 * place + priority] - start for place, start in enumerate(starts)
        ]
        rows.append(
            {
                "instances": copies,
                "storm": jobs,
                "priority": priority,
                "jobs": len(waits),
                "p50 ms": results.percentile(waits, 50) * 1e3,
                "p95 ms": results.percentile(waits, 95) * 1e3,
                "max ms": max(waits) * 1e3,
                "storm s": last - instant,
            }
        )
    return rows


async def measure(options_: argparse.Namespace) -> None:
    """Measure with one instance, with two and with four."""
    jobs = 4_000 if options_.quick else int(options_.jobs)
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for copies in (1, 2, 4):
            rows += await amid_storm(Tocsin(), postgres, receiver, jobs=jobs, copies=copies)
            print(results.table(rows[-2:]), flush=True)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "priority",
        title="A raised job amid a storm",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, jobs=20_000)
