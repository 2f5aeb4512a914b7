"""How fast a backlog is carried out: due jobs, 1, 2 and 4 instances, every execution recorded.

Jobs a second are counted from the first to the last arrival. CPU seconds are those of the
instances and of Postgres (all its processes), per 1,000 jobs. The bare client sends as many
requests with as much concurrency right before each round.
"""

import argparse
import asyncio

import asyncpg
import uvloop

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Contestant, Job, Peer, Tocsin, chosen
from benchmarks.support.postgres import Postgres, reset_statements, statements
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row


async def drain(
    contestant: Contestant, postgres: Postgres, receiver: Receiver, *, jobs: int, copies: int
) -> Row:
    """Enqueue, start the workers, and measure until the last job arrived and was recorded."""
    await contestant.prepare(postgres, receiver.base_url)
    await contestant.enqueue([Job(number) for number in range(jobs)])
    await vacuumed(contestant.url)
    await reset_statements(contestant.url)
    receiver.reset()
    database_before = postgres.cpu_seconds()
    with contestant.working(copies=copies) as workers:
        await receiver.wait_for(1, seconds=60, check=workers.check)
        cpu_before = workers.cpu_seconds()  # without the start of Python or Node
        arrivals = await receiver.wait_for(jobs, seconds=30 + jobs / 500, check=workers.check)
        await settled(contestant)
        cpu = workers.cpu_seconds() - cpu_before
        # Before the workers stop: of a backend that ends just then the time could be missed.
        database_cpu = postgres.cpu_seconds() - database_before
    numbers = {arrival.number for arrival in arrivals}
    seconds = arrivals[-1].at - arrivals[0].at
    return {
        "contestant": contestant.name,
        "instances": copies,
        "jobs/s": jobs / seconds,
        "CPU s per 1,000": cpu / jobs * 1000,
        "Postgres CPU s per 1,000": database_cpu / jobs * 1000,
        "not carried out": jobs - len(numbers),
        "twice": len(arrivals) - len(numbers),
    }


async def settled(contestant: Contestant) -> None:
    """Wait until the product has recorded every job; peers get a second to write what they keep."""
    if not isinstance(contestant, Tocsin):
        await asyncio.sleep(1)
        return
    connection = await asyncpg.connect(contestant.url)
    async with asyncio.timeout(30):
        while await connection.fetchval(
            "select exists (select from tocsin.jobs where next_run is not null)"
        ):
            await asyncio.sleep(0.05)
    await connection.close()


async def vacuumed(url: str) -> None:
    """Let no autovacuum of the load itself fall into the measurement."""
    connection = await asyncpg.connect(url)
    await connection.execute("vacuum analyze")
    await connection.execute("checkpoint")
    await connection.close()


async def measure(options_: argparse.Namespace) -> None:
    """Measure all contestants, with the bare client before each."""
    jobs = 3_000 if options_.quick else int(options_.jobs)
    rounds = 1 if options_.quick else int(options_.rounds)
    rows: list[Row] = []
    failed: list[str] = []
    top: list[dict[str, object]] = []
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for _ in range(rounds):
            for contestant in chosen(options_.peers):
                most = contestant.most_copies if isinstance(contestant, Peer) else 4
                for copies in (one for one in (1, 2, 4) if one <= min(most, options_.copies)):
                    receiver.reset()
                    ceiling = await bare.http(receiver, min(jobs, 20_000))
                    try:
                        row = await drain(contestant, postgres, receiver, jobs=jobs, copies=copies)
                    except (TimeoutError, RuntimeError) as error:
                        print(f"{contestant.name}: {error}", flush=True)
                        failed.append(f"{contestant.name} ({copies}): {error}.")
                        continue
                    ratio = float(str(row["jobs/s"])) / ceiling
                    rows.append({**row, "bare client/s": ceiling, "of bare client": ratio})
                    print(results.table(rows[-1:]), flush=True)
                    if isinstance(contestant, Tocsin) and copies == 1:
                        top = await statements(contestant.url)
        middle = merged(rows)
        results.write(
            "drain",
            title=f"Drain {jobs:,} due jobs",
            notes="\n".join([(__doc__ or "").strip(), *failed]),
            rows=middle,
            on=results.machine(await bare.server_version(postgres.url("postgres"))),
            quick=options_.quick,
        )
        print(results.table([{**one, "query": str(one["query"])[:60]} for one in top[:6]]))
    labelled = [{**row, "who": f"{row['contestant']} x {row['instances']}"} for row in middle]
    results.bars(
        "drain", labelled, label="who", values=["jobs/s"], axis="jobs/s", quick=options_.quick
    )


def merged(rows: list[Row]) -> list[Row]:
    """Return the median round of each contestant and number of instances."""
    groups: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["contestant"], row["instances"]), []).append(row)
    return [
        sorted(group, key=lambda row: float(str(row["jobs/s"])))[len(group) // 2]
        for group in groups.values()
    ]


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, jobs=50_000, rounds=3, copies=4)
