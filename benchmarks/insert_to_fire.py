"""From the INSERT of an immediate job to its request, on a sleeping system, one job at a time.

The clock starts right before the INSERT is sent and stops when the request arrives. The bare chain
(INSERT, NOTIFY, claim, POST in one small script) runs in the same minute, with the same pauses.
"""

import argparse
import asyncio
import random

import asyncpg

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Contestant, Tocsin, chosen
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row


async def insert_to_fire(
    contestant: Contestant, postgres: Postgres, receiver: Receiver, *, jobs: int
) -> list[float]:
    """Return the seconds that each job took."""
    await contestant.prepare(postgres, receiver.base_url)
    receiver.reset()
    starts: dict[int, float] = {}
    with contestant.working() as workers:
        await listening(contestant)
        async with contestant.inserting(workers) as insert:
            for number in range(-3, jobs):  # the first three open connections
                if number >= 0:
                    starts[number] = await insert(number)
                else:
                    await insert(jobs - number)
                await asyncio.sleep(random.uniform(*bare.PAUSE_SECONDS))
                await receiver.wait_for(number + 4, seconds=20, check=workers.check)
    arrived = {arrival.number: arrival.at for arrival in receiver.arrivals()}
    return [arrived[number] - start for number, start in starts.items()]


async def listening(contestant: Contestant) -> None:
    """Wait until the product listens; peers have said so by themselves."""
    if not isinstance(contestant, Tocsin):
        await asyncio.sleep(1)
        return
    connection = await asyncpg.connect(contestant.url)
    async with asyncio.timeout(30):
        while not await connection.fetchval(
            "select exists (select from pg_stat_activity where application_name like"
            " 'tocsin scheduler %' and state = 'idle' and query like '%claims.look%')"
        ):
            await asyncio.sleep(0.05)
    await connection.close()


async def measure(options_: argparse.Namespace) -> None:
    """Measure the bare chain and every contestant."""
    jobs = 50 if options_.quick else int(options_.jobs)
    rows: list[Row] = []

    def add(name: str, waits: list[float], floor: float) -> None:
        p50 = results.percentile(waits, 50)
        rows.append(
            {
                "contestant": name,
                "p50 ms": p50 * 1e3,
                "p99 ms": results.percentile(waits, 99) * 1e3,
                "of bare chain": p50 / floor,
            }
        )
        print(results.table(rows[-1:]), flush=True)

    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        floor_waits = await bare.chain(await postgres.fresh("chain"), receiver, jobs)
        floor = results.percentile(floor_waits, 50)
        add("bare chain", floor_waits, floor)
        for contestant in chosen(options_.peers):
            try:
                waits = await insert_to_fire(contestant, postgres, receiver, jobs=jobs)
            except (TimeoutError, RuntimeError) as error:
                print(f"{contestant.name}: {error}", flush=True)
                rows.append({"contestant": contestant.name})
                continue
            add(contestant.name, waits, floor)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "insert_to_fire",
        title="Insert to fire",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    results.bars(
        "insert_to_fire",
        rows,
        label="contestant",
        values=["p50 ms", "p99 ms"],
        axis="ms",
        log=True,
        quick=options_.quick,
    )


if __name__ == "__main__":
    options.run(measure, about=__doc__, jobs=300)
