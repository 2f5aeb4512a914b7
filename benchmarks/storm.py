"""Many jobs due at one instant: when the first and the last of them arrive.

Everything is enqueued, and every worker up and asleep, before the instant comes. The bare client
sends as many requests with as much concurrency right before each run.
"""

import argparse
import asyncio
import time

import uvloop

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Contestant, Job, chosen
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row


async def storm(
    contestant: Contestant, postgres: Postgres, receiver: Receiver, *, jobs: int
) -> Row:
    """Let that many jobs come due at once."""
    await contestant.prepare(postgres, receiver.base_url)
    receiver.reset()
    instant = float(int(time.time() + 8 + jobs / 1_500))
    await contestant.enqueue([Job(number, instant) for number in range(jobs)])
    if time.time() > instant - 5:
        raise RuntimeError(f"{contestant.name} took too long to enqueue {jobs} jobs")
    with contestant.working() as workers:
        await asyncio.sleep(max(0.0, instant - time.time()))
        arrivals = await receiver.wait_for(jobs, seconds=30 + jobs / 500, check=workers.check)
    return {
        "contestant": contestant.name,
        "jobs": jobs,
        "first ms": (arrivals[0].at - instant) * 1e3,
        "last s": arrivals[-1].at - instant,
        "early": sum(arrival.at < instant for arrival in arrivals),
    }


async def measure(options_: argparse.Namespace) -> None:
    """Measure all contestants, with the bare client before each."""
    sizes = (
        (2_000,) if options_.quick else (5_000, int(options_.jobs))[: 1 + (options_.jobs > 5_000)]
    )
    rows: list[Row] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for jobs in sizes:
            for contestant in chosen(options_.peers):
                receiver.reset()
                bare_seconds = jobs / await bare.http(receiver, jobs)
                try:
                    row = await storm(contestant, postgres, receiver, jobs=jobs)
                except (TimeoutError, RuntimeError) as error:
                    print(f"{contestant.name}: {error}")
                    rows.append({"contestant": contestant.name, "jobs": jobs})
                    continue
                ratio = float(str(row["last s"])) / bare_seconds
                rows.append({**row, "bare client s": bare_seconds, "of bare client": ratio})
                print(results.table(rows[-1:]), flush=True)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "storm",
        title="A storm of jobs due at one instant",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    results.bars(
        "storm",
        [row for row in rows if row["jobs"] == sizes[0]],
        label="contestant",
        values=["first ms", "last s"],
        axis=f"{sizes[0]:,} jobs",
        log=True,
        quick=options_.quick,
    )


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, jobs=50_000)
