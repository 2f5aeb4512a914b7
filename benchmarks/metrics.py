"""What it costs an instance to count for Prometheus, as it does with `TOCSIN_METRICS_PORT`.

One instance carries out due jobs, by turns without the port and with it, where it is scraped once a
second; the medians are the milliseconds of CPU of the instance for each job. A run differs from the
next by more than the counting takes, so that is measured by itself as well: what is counted for one
job (its start, its request, its settlement, and its share of a look and a batch), in microseconds
and in parts of the CPU time without the port. The run fails if that is over a hundredth.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from statistics import median
from uuid import UUID

import httpx
import uvloop

from app.core.facts import BatchSettled, Cause, Looked, Settled, Started
from app.core.runs.outcome import Outcome
from app.telemetry.counts import Counts
from benchmarks import bare
from benchmarks.drain import settled, vacuumed
from benchmarks.support import options, results
from benchmarks.support.contestants import Job, Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.processes import Running, tocsin
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

PORT = 19_173
MOST = 0.01
"""The largest part of the CPU time for a job that counting may take."""
TOGETHER = 50
"""How many jobs one look claims, and one batch settles, where many are due."""
COUNTED = 200_000


class Metered(Tocsin):
    """An instance that counts, and answers on a port."""

    def working(
        self, *, copies: int = 1, under: Sequence[str] = ()
    ) -> AbstractContextManager[Running]:
        """See `Contestant`."""
        return tocsin(
            self.url,
            copies=copies,
            concurrency=self.concurrency,
            under=under,
            TOCSIN_METRICS_PORT=str(PORT),
        )


async def scrape() -> None:
    """Scrape once a second, until cancelled."""
    async with httpx.AsyncClient() as client:
        while True:
            with suppress(httpx.TransportError):
                (await client.get(f"http://127.0.0.1:{PORT}/metrics")).raise_for_status()
            await asyncio.sleep(1)


async def turn(product: Tocsin, postgres: Postgres, receiver: Receiver, *, jobs: int) -> float:
    """Carry out due jobs; return the milliseconds of CPU of the instance for each."""
    await product.prepare(postgres, receiver.base_url)
    await product.enqueue([Job(number) for number in range(jobs)])
    await vacuumed(product.url)
    receiver.reset()
    scraping = asyncio.create_task(scrape()) if isinstance(product, Metered) else None
    with product.working() as workers:
        await receiver.wait_for(1, seconds=60, check=workers.check)
        before = workers.cpu_seconds()
        await receiver.wait_for(jobs, seconds=60 + jobs / 50, check=workers.check)
        await settled(product)
        spent = workers.cpu_seconds() - before
    if scraping is not None:
        scraping.cancel()
    return 1e3 * spent / jobs


def counting() -> float:
    """Return the microseconds of CPU that it takes to count what one job tells."""
    now = datetime.now(UTC)
    job = UUID(int=7)
    started = Started(job_id=job, execution_id=1, kind="http", attempt=1, lag_seconds=0.001)
    ended = Settled(
        job_id=job,
        name=None,
        kind="http",
        execution_id=1,
        outcome=Outcome.SUCCEEDED,
        reason=None,
        missed_runs=0,
        ended=True,
        deferred=False,
        scheduled_for=now,
        attempt=1,
        next_run=None,
        lag_seconds=0.001,
        duration_seconds=0.004,
        error=None,
    )
    look = Looked(
        claimed=TOGETHER, sleep_seconds=0, cause=Cause.ROOM, took_seconds=0.004, woken_seconds=0.006
    )
    batch = BatchSettled(settlements=TOGETHER, took_seconds=0.004)
    times, clock = [], asyncio.get_running_loop().time
    for _ in range(5):
        counts = Counts()
        begun = time.process_time()
        for number in range(COUNTED):
            requested = "POST", clock()
            counts(started)
            counts.count_request(requested[0], 200, None, clock() - requested[1])
            counts(ended)
            if number % TOGETHER == 0:
                counts(look)
                counts(batch)
        times.append(time.process_time() - begun)
    return 1e6 * min(times) / COUNTED


async def measure(options_: argparse.Namespace) -> None:
    """Measure by turns, in an order that favours neither."""
    jobs, rounds = (1_000, 1) if options_.quick else (int(options_.jobs), int(options_.rounds))
    without, counted = Tocsin(), Metered()
    spent: dict[bool, list[float]] = {False: [], True: []}
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        await turn(without, postgres, receiver, jobs=1_000)  # warms the machine up
        for number in range(rounds):
            for product in (without, counted) if number % 2 else (counted, without):
                found = await turn(product, postgres, receiver, jobs=jobs)
                spent[product is counted].append(found)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    usual, alone = median(spent[False]), counting()
    part = alone / 1e3 / usual
    rows: list[Row] = [
        {
            "": "without the port",
            "CPU ms per job": usual,
            "from": min(spent[False]),
            "to": max(spent[False]),
        },
        {
            "": "with it",
            "CPU ms per job": median(spent[True]),
            "from": min(spent[True]),
            "to": max(spent[True]),
            "of that without": median(spent[True]) / usual,
        },
        {"": "counting by itself", "CPU ms per job": alone / 1e3, "of that without": part},
    ]
    results.write(
        "metrics",
        title=f"What counting costs an instance that carries out {jobs:,} due jobs",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    if part > MOST:
        raise AssertionError(f"counting takes {part:.2%} of the CPU time for a job")


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, minutes=20.0, jobs=10_000, rounds=5)
