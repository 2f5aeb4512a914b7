"""Jobs whose runs come due while one is unfinished, and whether two were ever under way at once."""

from collections import defaultdict
from itertools import pairwise

import asyncpg

from tests.support.checker import overlap
from tests.support.ledger import Delivery, Ledger, Load
from tests.support.sink import Sink
from tests.support.waiting import until

ONE_AT_A_TIME = ("skip", "buffer_one", "buffer_all", "cancel_other")
"""The policies that let no two runs of a job be under way at once."""
MAX_SECONDS = 2.5


async def busy_crons(connection: asyncpg.Connection, load: Load, sink: Sink) -> None:
    """Insert two jobs of each policy that run each second, for up to `MAX_SECONDS`."""
    ledger, chance = load.ledger, load.chance
    path = sink.on("/busy", ledger.receiver(lambda: chance.uniform(0.1, MAX_SECONDS)))
    rows = await connection.fetch(
        """insert into tocsin.jobs (kind, target, cron, overlap, backoff_seconds, max_attempts)
           select 'http', jsonb_build_object('url', $1::text), '* * * * * *', overlap, 0.2, 20
           from unnest($2::text[]) as overlap, generate_series(1, 2)
           returning id""",
        path,
        list(ONE_AT_A_TIME),
    )
    ledger.crons |= {row["id"] for row in rows}


async def come_to_rest(connection: asyncpg.Connection) -> None:
    """Pause the jobs, which have hardly a moment between two runs, while their holders live."""

    async def all_paused() -> bool:
        await connection.execute(
            """update tocsin.jobs set paused_at = now()
               where cron is not null and paused_at is null
                 and (execution_id is null or locked_until > now())"""
        )
        return not await connection.fetchval(
            """select exists (select from tocsin.jobs
               where cron is not null and (paused_at is null or execution_id is not null))"""
        )

    await until(all_paused, "all jobs are on pause, and what executed has ended", within=60)


async def overlapping(connection: asyncpg.Connection, ledger: Ledger) -> list[str]:
    """Tell of executions of one job that receivers had at once, but for those that were lost."""
    rows = await connection.fetch(
        """select x.id, x.outcome || ' (' || coalesce(x.reason, '-') || '), ' || j.overlap as told
           from tocsin.executions x join tocsin.jobs j on j.id = x.job_id where x.attempt > 0"""
    )
    told = {row["id"]: row["told"] for row in rows}
    jobs: dict[str, list[Delivery]] = defaultdict(list)
    for one in sorted(ledger.deliveries, key=lambda one: one.arrived):
        if not told.get(one.execution_id, "").startswith("lost"):
            jobs[one.key.partition(":")[0]].append(one)
    return [
        f"{told.get(first.execution_id)}: {first}; {told.get(second.execution_id)}: {second}"
        for deliveries in jobs.values()
        for first, second in pairwise(deliveries)
        if overlap(first, second)
    ]


async def reasons_of_missed(connection: asyncpg.Connection) -> dict[str, set[str]]:
    """Return with which outcomes each policy is on record for overlap."""
    rows = await connection.fetch(
        """select distinct j.overlap, x.outcome from tocsin.executions x
           join tocsin.jobs j on j.id = x.job_id where x.reason = 'overlap'"""
    )
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row["overlap"]].add(row["outcome"])
    return found
