"""What each `overlap` costs: CPU time for each run, of one instance and of Postgres.

Jobs recur every five seconds, evenly spread, on one instance; all requests are answered at once,
so no run meets another. `buffer_all` is the default. The policies take turns, and of each the
cheapest turn counts.
"""

import argparse
import asyncio

import asyncpg

from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

POLICIES = ("buffer_all", "skip", "buffer_one", "cancel_other", "allow_all")
RECURRING = """
insert into tocsin.jobs (kind, target, overlap, every_seconds, starts_at)
select 'http', jsonb_build_object('url', $1 || n), $3::text, 5,
       now() + interval '3 s' + n * interval '5 s' / $2::bigint
from generate_series(1, $2::bigint) n
"""
WARM_UP_SECONDS = 6.0


async def turn(
    postgres: Postgres, receiver: Receiver, policy: str, *, jobs: int, seconds: float
) -> Row:
    """Let jobs of one policy recur."""
    contestant = Tocsin()
    await contestant.prepare(postgres, receiver.base_url)
    connection = await asyncpg.connect(contestant.url)
    await connection.execute(RECURRING, receiver.base_url, jobs, policy)
    with contestant.working() as workers:
        await asyncio.sleep(WARM_UP_SECONDS)
        receiver.reset()
        before, postgres_before = workers.cpu_seconds(), postgres.cpu_seconds()
        await asyncio.sleep(seconds)
        runs = receiver.count()
        instance = workers.cpu_seconds() - before
        server = postgres.cpu_seconds() - postgres_before
        workers.check()
    late = await connection.fetchval(
        """select percentile_cont(0.5) within group (
               order by extract(epoch from started_at - scheduled_for)) * 1e3
           from tocsin.executions where outcome = 'succeeded'"""
    )
    await connection.close()
    receiver.reset()
    return {
        "overlap": policy,
        "runs": runs,
        "instance CPU ms per run": 1e3 * instance / max(runs, 1),
        "Postgres CPU ms per run": 1e3 * server / max(runs, 1),
        "lateness p50 ms": late,
    }


async def measure(options_: argparse.Namespace) -> None:
    """Measure the policies in turns."""
    seconds, rounds = (5.0, 1) if options_.quick else (options_.seconds, int(options_.rounds))
    jobs = 50 if options_.quick else int(options_.jobs)
    best: dict[str, Row] = {}
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        for _ in range(rounds):
            for policy in POLICIES:
                row = await turn(postgres, receiver, policy, jobs=jobs, seconds=seconds)
                if policy not in best or cost(row) < cost(best[policy]):
                    best[policy] = row
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "overlap",
        title=f"What overlap costs {jobs} jobs that recur every five seconds",
        notes=(__doc__ or "").strip(),
        rows=[best[policy] for policy in POLICIES],
        on=on,
        quick=options_.quick,
    )


def cost(row: Row) -> float:
    """Return the CPU time of a run, in milliseconds."""
    return float(str(row["instance CPU ms per run"])) + float(str(row["Postgres CPU ms per run"]))


if __name__ == "__main__":
    options.run(measure, about=__doc__, minutes=20.0, seconds=20, jobs=200, rounds=3)
