"""How late other jobs are while a bulk action edits very many.

200 jobs recur every second, evenly spread over it, on one instance, first alone and then while a
bulk action edits many other jobs, which are due far ahead. Alone and beside take turns: the
median of the rounds counts. The run fails where p99 beside it is more than 50 ms above p99 alone.
"""

import argparse
import asyncio
import statistics
import time

import asyncpg

from benchmarks import bare
from benchmarks.churn import LATENESS, RECURRING
from benchmarks.support import options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

OTHERS = """
insert into tocsin.jobs (kind, target, run_at, tags)
select 'http', jsonb_build_object('url', $1::text), '2100-01-01', '{bulk}'
from generate_series(1, $2::bigint) n
"""
ASK = """select tocsin.bulk('edit', '{"tag": "bulk"}', $1::text::jsonb)"""
STATE = "select tocsin.state(b) as state, changed from tocsin.bulk_actions b where id = $1"
WORSE_MS = 50.0


async def lateness(connection: asyncpg.Connection, seconds: float) -> tuple[float, float]:
    late = await connection.fetchrow(LATENESS, seconds)
    assert late is not None
    return late["p50"], late["p99"]


async def edit_beside(
    connection: asyncpg.Connection, round_: int, *, jobs: int, seconds: float
) -> Row:
    """Measure for some seconds alone, and then until a bulk edit has ended."""
    await asyncio.sleep(seconds)
    alone = await lateness(connection, seconds)
    began = time.monotonic()
    id = await connection.fetchval(ASK, f'{{"patch": {{"timeout_seconds": {60 + round_}}}}}')
    while True:
        await asyncio.sleep(0.5)
        row = await connection.fetchrow(STATE, id)
        assert row is not None
        if row["state"] in ("finished", "failed"):
            break
    took = time.monotonic() - began
    beside = await lateness(connection, took)
    assert (row["state"], row["changed"]) == ("finished", jobs)
    return {
        "edited jobs": jobs,
        "seconds": took,
        "edits a second": jobs / took,
        "alone p50 ms": alone[0],
        "alone p99 ms": alone[1],
        "beside p50 ms": beside[0],
        "beside p99 ms": beside[1],
    }


async def measure(options_: argparse.Namespace) -> None:
    """Edit many jobs again and again, and look at the lateness of the others."""
    jobs, rounds, seconds = (
        (2_000, 2, 10.0)
        if options_.quick
        else (int(options_.jobs), int(options_.rounds), options_.seconds)
    )
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        contestant = Tocsin()
        await contestant.prepare(postgres, receiver.base_url)
        connection = await asyncpg.connect(contestant.url)
        await connection.execute(OTHERS, receiver.base_url, jobs)
        await connection.execute(RECURRING, receiver.base_url, 200)
        with contestant.working() as workers:
            await asyncio.sleep(6.0)
            for round_ in range(rounds):
                workers.check()
                rows.append(await edit_beside(connection, round_, jobs=jobs, seconds=seconds))
                receiver.reset()
                print(results.table(rows[-1:]), flush=True)
        await connection.close()
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "bulk",
        title=f"Lateness of 200 jobs a second beside a bulk edit of {jobs:,}",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    worse = statistics.median(
        float(str(row["beside p99 ms"])) - float(str(row["alone p99 ms"])) for row in rows
    )
    if worse > WORSE_MS:
        raise AssertionError(f"p99 was {worse:.0f} ms worse:\n{results.table(rows)}")


if __name__ == "__main__":
    options.run(measure, about=__doc__, minutes=60.0, jobs=100_000, rounds=3, seconds=30)
