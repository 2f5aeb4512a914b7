"""What limits of flows cost, and whom they cost nothing.

`drain`: due jobs without a flow, in 1, 100 and 10,000 flows without limits, in as many that have a
limit by a pattern, and in one of ten at a time. `beside`: jobs that are inserted one by one,
without a flow or each of another one, alone and while 100,000 due jobs of one flow wait for its two
permits: from INSERT to request.
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime

import asyncpg
import uvloop

from benchmarks import bare
from benchmarks.drain import settled, vacuumed
from benchmarks.insert_to_fire import listening
from benchmarks.support import options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

PAUSE_SECONDS = 0.03
"""Between two jobs that are inserted one by one."""
HOT = "hot"
"""The flow that others must not notice."""


async def enqueue(
    url: str, base_url: str, *, jobs: int, keys: int | None, first: int = 0, hot: bool = False
) -> None:
    """Put due jobs into so many flows; None: into none."""
    connection = await asyncpg.connect(url)
    now = datetime.now(UTC)
    await connection.copy_records_to_table(
        "jobs",
        schema_name="tocsin",
        columns=["kind", "target", "run_at", "flow_key"],
        records=[
            (
                "http",
                json.dumps({"url": f"{base_url}{first + number}"}),
                now,
                HOT if hot else None if keys is None else f"flow-{number % keys}",
            )
            for number in range(jobs)
        ],
    )
    await connection.close()


async def limit(url: str, key: str, at_once: int) -> None:
    """Let so many jobs of a flow execute at once."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "insert into tocsin.flows (flow_key, max_concurrency) values ($1, $2)", key, at_once
    )
    await connection.close()


async def drain(
    postgres: Postgres, receiver: Receiver, *, jobs: int, keys: int | None, at_once: int | None
) -> Row:
    """Carry out due jobs, one instance; count from the first to the last arrival."""
    product = Tocsin()
    await product.prepare(postgres, receiver.base_url)
    await enqueue(product.url, receiver.base_url, jobs=jobs, keys=keys)
    if at_once is not None:
        await limit(product.url, "flow-*", at_once)
    await vacuumed(product.url)
    receiver.reset()
    database_before = postgres.cpu_seconds()
    with product.working() as workers:
        await receiver.wait_for(1, seconds=60, check=workers.check)
        before = workers.cpu_seconds()
        arrivals = await receiver.wait_for(jobs, seconds=60 + jobs / 50, check=workers.check)
        await settled(product)
        cpu = workers.cpu_seconds() - before
        database_cpu = postgres.cpu_seconds() - database_before
    return {
        "what": "drain",
        "flows": 0 if keys is None else keys,
        "at once": at_once or "",
        "jobs/s": jobs / (arrivals[-1].at - arrivals[0].at),
        "CPU s per 1,000": cpu / jobs * 1000,
        "Postgres CPU s per 1,000": database_cpu / jobs * 1000,
        "twice": len(arrivals) - len({one.number for one in arrivals}),
    }


async def beside(
    postgres: Postgres, receiver: Receiver, *, jobs: int, waiting: int, keyed: bool
) -> Row:
    """Insert jobs one by one while others wait in a flow, and take the time to each request."""
    product = Tocsin()
    await product.prepare(postgres, receiver.base_url)
    receiver.reset()
    if waiting:
        await enqueue(
            product.url, receiver.base_url, jobs=waiting, keys=None, first=10**6, hot=True
        )
    await limit(product.url, HOT, 2)
    await vacuumed(product.url)
    connection = await asyncpg.connect(product.url)
    starts: dict[int, float] = {}
    with product.working() as workers:
        await listening(product)
        await asyncio.sleep(2.0)
        for number in range(jobs):
            starts[number] = time.time()
            await connection.execute(
                "insert into tocsin.jobs (kind, target, run_at, flow_key)"
                " values ('http', $1, now(), $2)",
                json.dumps({"url": f"{receiver.base_url}{number}"}),
                f"other-{number}" if keyed else None,
            )
            await asyncio.sleep(PAUSE_SECONDS)
        deadline = time.monotonic() + 60
        while True:
            arrived = {one.number: one.at for one in receiver.arrivals()}
            if starts.keys() <= arrived.keys():
                break
            workers.check()
            if time.monotonic() > deadline:
                raise TimeoutError("not all jobs have arrived")
            await asyncio.sleep(0.5)
    await connection.close()
    waits = [arrived[number] - start for number, start in starts.items()]
    return {
        "what": "beside",
        "of": "another flow" if keyed else "no flow",
        "waiting": waiting,
        "p50 ms": results.percentile(waits, 50) * 1e3,
        "p99 ms": results.percentile(waits, 99) * 1e3,
        "most ms": max(waits) * 1e3,
    }


async def measure(options_: argparse.Namespace) -> None:
    """Measure all of that, one instance."""
    jobs = 2_000 if options_.quick else int(options_.jobs)
    waiting = 10_000 if options_.quick else 100_000
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        print(results.table(rows[-1:]), flush=True)

    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for keys in (None, 1, 100, 10_000):
            add(await drain(postgres, receiver, jobs=jobs, keys=keys, at_once=None))
        for keys in (1, 100, 10_000):
            add(await drain(postgres, receiver, jobs=jobs, keys=keys, at_once=100))
        add(await drain(postgres, receiver, jobs=jobs // 4, keys=1, at_once=10))
        for keyed in (False, True):
            for many in (0, waiting):
                add(await beside(postgres, receiver, jobs=300, waiting=many, keyed=keyed))
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    for what in ("drain", "beside"):
        results.write(
            "flow" if what == "drain" else "flow_beside",
            title="Flows" if what == "drain" else "Beside a flow that waits",
            notes=(__doc__ or "").strip(),
            rows=[row for row in rows if row["what"] == what],
            on=on,
            quick=options_.quick,
        )


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, jobs=20_000)
