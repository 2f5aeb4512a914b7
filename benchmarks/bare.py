"""The bare ceilings: what the parts can do alone, without a scheduler around them.

* http: an aiohttp client with the product's concurrency, and no database.
* claim and settle: an asyncpg loop that claims and closes rows of a minimal table in batches.
* chain: INSERT, NOTIFY, claim, POST, one job at a time, in one process.
"""

import argparse
import asyncio
import random
import time

import aiohttp
import asyncpg
import psutil
import uvloop

from benchmarks.support import options, results
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver

CONCURRENCY = 100
BATCH = 500
PAUSE_SECONDS = (0.05, 0.15)
"""Between two jobs of the chain: what has rested for longer takes longer to wake up."""


async def http(receiver: Receiver, requests: int, *, concurrency: int = CONCURRENCY) -> float:
    """Send that many requests and return how many a second."""
    numbers = iter(range(requests))

    async def send(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.post(receiver.url(number)) as response:
                await response.read()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(send(session))
        return requests / (time.perf_counter() - started)


MINIMAL = """
create table if not exists minimal (
    id bigint generated always as identity primary key, due timestamptz, locked_until timestamptz);
create index if not exists minimal_due on minimal (due) where due is not null;
"""
CLAIM = """
with due as materialized (
    select id from minimal where due <= now() order by due limit $1 for update skip locked)
update minimal m set locked_until = now() + '60 s' from due where m.id = due.id returning m.id
"""
SETTLE = "update minimal set due = null, locked_until = null where id = any($1::bigint[])"


async def claim_and_settle(url: str, jobs: int) -> float:
    """Claim and close that many rows, batch by batch, and return how many a second."""
    connection = await asyncpg.connect(url)
    await connection.execute(MINIMAL)
    await connection.execute(
        f"insert into minimal (due) select now() from generate_series(1, {jobs})"
    )
    claim, settle = await connection.prepare(CLAIM), await connection.prepare(SETTLE)
    started = time.perf_counter()
    done = 0
    while claimed := [row["id"] for row in await claim.fetch(BATCH)]:
        await settle.fetch(claimed)
        done += len(claimed)
    seconds = time.perf_counter() - started
    await connection.close()
    return done / seconds


async def chain(url: str, receiver: Receiver, jobs: int) -> list[float]:
    """Return the seconds from before each INSERT to the arrival of its request."""
    writer, worker = await asyncpg.connect(url), await asyncpg.connect(url)
    await writer.execute(MINIMAL)
    claim = await worker.prepare(CLAIM)
    insert = await writer.prepare(
        "with new as (insert into minimal (due) values (now())) select pg_notify('minimal', '')"
    )
    rung = asyncio.Event()
    await worker.add_listener("minimal", lambda *_: rung.set())
    receiver.reset()
    starts = []
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            for number in range(jobs):
                await rung.wait()
                rung.clear()
                await claim.fetch(1)
                async with session.post(receiver.url(number)) as response:
                    await response.read()

        async with asyncio.TaskGroup() as group:
            working = group.create_task(work())
            for _ in range(jobs):
                starts.append(time.time())
                await insert.fetch()
                await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            await working
    await writer.close()
    await worker.close()
    arrivals = receiver.arrivals()
    return [one.at - start for one, start in zip(arrivals, starts, strict=True)]


async def measure(chosen: argparse.Namespace) -> None:
    """Measure all three."""
    requests = 5_000 if chosen.quick else 50_000
    rounds = 1 if chosen.quick else 3
    with Receiver.running() as receiver, Postgres.running(programs=chosen.postgres) as postgres:
        url = await postgres.fresh("bare")
        rows = []
        for _ in range(rounds):
            receiver.reset()
            before = cpu(receiver.pid)
            per_second = await http(receiver, requests)
            rows.append(
                {
                    "ceiling": "http client, requests/s",
                    "value": per_second,
                    "receiver CPU µs per request": (cpu(receiver.pid) - before) / requests * 1e6,
                }
            )
            rows.append(
                {
                    "ceiling": "claim and settle, jobs/s",
                    "value": await claim_and_settle(url, requests),
                }
            )
        waits = await chain(url, receiver, 50 if chosen.quick else 300)
        rows.append({"ceiling": "chain p50, ms", "value": results.percentile(waits, 50) * 1e3})
        rows.append({"ceiling": "chain p99, ms", "value": results.percentile(waits, 99) * 1e3})
        results.write(
            "bare",
            title="Bare ceilings",
            notes=(__doc__ or "").strip(),
            rows=rows,
            on=results.machine(await server_version(url)),
            quick=chosen.quick,
        )


async def server_version(url: str) -> str:
    """Return the version of the server."""
    connection = await asyncpg.connect(url)
    version = str(await connection.fetchval("show server_version"))
    await connection.close()
    return version


def cpu(pid: int) -> float:
    """CPU seconds of one process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__)
