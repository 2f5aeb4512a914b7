"""How late jobs fire: arrival minus scheduled instant, jobs at random milliseconds.

Jobs are enqueued before they are due, at 20 a second, and must never arrive early. Arrivals are
stamped by the receiver, on the clock of the host that the database reads too. The busy rounds run
beside a background load of due jobs that keeps every instance at work all the time.
"""

import argparse
import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Contestant, Job, Tocsin, chosen
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

PER_SECOND = 20
LEAD_SECONDS = 6.0
"""From the last enqueue to the first job: time for every peer to start."""
BACKGROUND_FIRST = 1_000_000
BACKGROUND_PER_SECOND = 200


async def lateness(
    contestant: Contestant,
    postgres: Postgres,
    receiver: Receiver,
    *,
    jobs: int,
    busy: bool,
) -> Row:
    """Measure one contestant on an otherwise idle or busy system."""
    await contestant.prepare(postgres, receiver.base_url)
    receiver.reset()
    seconds = jobs / PER_SECOND
    start = time.time() + LEAD_SECONDS + jobs / 200
    due = {number: round(start + random.uniform(0, seconds), 3) for number in range(jobs)}
    await contestant.enqueue([Job(number, at) for number, at in due.items()])
    background = background_load(contestant, start, seconds) if busy else nothing()
    with contestant.working() as workers:
        async with background:
            await asyncio.sleep(max(0.0, start + seconds - time.time()))
        await receiver.wait_for(jobs, seconds=60, check=workers.check)
        await asyncio.sleep(1)
    first: dict[int, float] = {}
    for arrival in receiver.arrivals():
        if arrival.number in due:
            first.setdefault(arrival.number, arrival.at - due[arrival.number])
    late = list(first.values())
    return {
        "contestant": contestant.name,
        "load": "busy" if busy else "calm",
        "p50 ms": results.percentile(late, 50) * 1e3,
        "p95 ms": results.percentile(late, 95) * 1e3,
        "p99 ms": results.percentile(late, 99) * 1e3,
        "max ms": max(late) * 1e3,
        "early": sum(one < 0 for one in late),
        "not fired": jobs - len(late),
    }


@asynccontextmanager
async def background_load(
    contestant: Contestant, start: float, seconds: float
) -> AsyncIterator[None]:
    """Have other jobs due all the while, evenly spread, `BACKGROUND_PER_SECOND` of them."""
    count = int(seconds * BACKGROUND_PER_SECOND)
    await contestant.enqueue(
        [
            Job(BACKGROUND_FIRST + number, start + number / BACKGROUND_PER_SECOND)
            for number in range(count)
        ]
    )
    yield


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """No load."""
    yield


async def measure(options_: argparse.Namespace) -> None:
    """Measure all contestants, calm and busy."""
    jobs = 100 if options_.quick else 500
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for busy in (False, True)[: 1 if options_.calm else 2]:
            for contestant in chosen(options_.peers):
                if busy and not isinstance(contestant, Tocsin) and options_.quick:
                    continue
                try:
                    row = await lateness(contestant, postgres, receiver, jobs=jobs, busy=busy)
                except (TimeoutError, RuntimeError) as error:
                    print(f"{contestant.name}: {error}", flush=True)
                    row = {"contestant": contestant.name, "load": "busy" if busy else "calm"}
                rows.append(row)
                print(results.table(rows[-1:]), flush=True)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "lateness",
        title=f"Lateness of {jobs} jobs, {PER_SECOND} a second",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    calm = [row for row in rows if row["load"] == "calm"]
    columns: Sequence[str] = ["p50 ms", "p99 ms"]
    results.bars(
        "lateness",
        calm,
        label="contestant",
        values=columns,
        axis="ms",
        log=True,
        quick=options_.quick,
    )


if __name__ == "__main__":
    options.run(measure, about=__doc__, calm=0)
