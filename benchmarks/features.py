"""What features cost the jobs that do not use them, and those that do: a row for each feature.

One instance carries out due jobs, each of one run. `beside`: the jobs use nothing, while other
jobs, due tomorrow, use the feature; the tag of these is under maintenance, or paused. `with`: the
jobs use it themselves, as far as a single run can; the window of their tag is yet to come. Both are
CPU time for each job, of the instance and of Postgres, in parts of that of the same jobs in a
database where nobody uses anything; 1.00 is nothing. Such plain turns come first, last and in
between; `plain` shows how far they lie apart, and what is within that shows nothing.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median

import asyncpg
import uvloop
from msgspec import Struct

from benchmarks import bare
from benchmarks.drain import vacuumed
from benchmarks.support import options, results
from benchmarks.support.contestants import Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

OTHERS = 200
"""The jobs that use a feature while others are measured."""
PLAIN_EVERY = 4
"""After so many turns comes one with nothing."""
OPEN = """
insert into tocsin.calendars (name, dates) values ('always', '{2020-01-01/2098-12-31}');
update tocsin.calendars set times = '{[2020-01-01,2099-01-01)}', worked_out_at = clock_timestamp()
"""


class Feature(Struct, frozen=True, kw_only=True):
    """A feature, and how jobs come to use it."""

    name: str
    others: str = ""
    """Columns with their values, as SQL, of other jobs that use it."""
    before: str = ""
    """What is written before any job."""
    after: str = ""
    """What is done once the other jobs are there."""
    own: Mapping[str, object] | None = None
    """The columns of jobs that use it themselves; None: a single run cannot."""
    own_before: str = ""
    """What is written before these in place of `before`."""


FEATURES = (
    Feature(name="overlap", others="overlap = 'cancel_other'", own={"overlap": "cancel_other"}),
    Feature(
        name="flow",
        others="flow_key = 'crm'",
        before="insert into tocsin.flows (flow_key, max_concurrency) values ('crm', 1000)",
        own={"flow_key": "crm"},
        own_before="insert into tocsin.flows (flow_key, max_concurrency) values ('crm', 1000)",
    ),
    Feature(name="priority", others="priority = 2", own={"priority": 2}),
    Feature(name="spread", others="jitter_seconds = 60"),
    Feature(
        name="calendars",
        before=OPEN,
        others="calendars = '{always}'",
        own={"calendars": ["always"]},
        own_before=OPEN,
    ),
    Feature(name="gap", others="min_gap_seconds = 60", own={"min_gap_seconds": 60}),
    Feature(
        name="maintenance",
        before="select tocsin.maintain(tag => 'other', ends_at => now() + interval '1 hour')",
        others="tags = '{other}'",
        own={"tags": ["other"]},
        own_before="select tocsin.maintain(tag => 'other', starts_at => now() + interval '1 hour',"
        " ends_at => now() + interval '2 hours')",
    ),
    Feature(name="skip", others="skip_runs = 3"),
    Feature(
        name="pause",
        others="tags = '{other}'",
        after="select tocsin.pause_tag('other', reason => 'moved')",
    ),
)


async def turn(
    postgres: Postgres,
    receiver: Receiver,
    *,
    jobs: int,
    feature: Feature | None = None,
    is_own: bool = False,
) -> float:
    """Carry out due jobs; return the milliseconds of CPU time for each, of both."""
    product = Tocsin()
    await product.prepare(postgres, receiver.base_url)
    connection = await asyncpg.connect(product.url)
    own: Mapping[str, object] = {}
    if feature is not None and is_own:
        own = feature.own or {}
        if feature.own_before:
            await connection.execute(feature.own_before)
    elif feature is not None:
        await use(connection, feature, receiver.base_url)
    now = datetime.now(UTC)
    await connection.copy_records_to_table(
        "jobs",
        schema_name="tocsin",
        columns=["kind", "target", "run_at", *own],
        records=[
            ("http", json.dumps({"url": f"{receiver.base_url}{number}"}), now, *own.values())
            for number in range(jobs)
        ],
    )
    await connection.close()
    await vacuumed(product.url)
    receiver.reset()
    server = postgres.cpu_seconds()
    with product.working() as workers:
        await receiver.wait_for(1, seconds=60, check=workers.check)
        instance = workers.cpu_seconds()
        await receiver.wait_for(jobs, seconds=60 + jobs / 50, check=workers.check)
        await recorded(product, jobs)
        instance = workers.cpu_seconds() - instance
        server = postgres.cpu_seconds() - server
    return 1e3 * (instance + server) / jobs


async def use(connection: asyncpg.Connection, feature: Feature, base_url: str) -> None:
    """Have other jobs, due tomorrow, use a feature."""
    if feature.before:
        await connection.execute(feature.before)
    await connection.execute(
        """insert into tocsin.jobs (name, kind, target, every_seconds, starts_at)
           select 'other-' || n, 'http', jsonb_build_object('url', $1 || 10000000 + n), 86400,
               now() + interval '1 day' from generate_series(1, $2::bigint) as n""",
        base_url,
        OTHERS,
    )
    if feature.others:
        await connection.execute(f"update tocsin.jobs set {feature.others}")
    if feature.after:
        await connection.execute(feature.after)


async def recorded(product: Tocsin, jobs: int) -> None:
    """Wait until the executions of so many jobs are on record."""
    connection = await asyncpg.connect(product.url)
    async with asyncio.timeout(60):
        while await connection.fetchval("select count(*) from tocsin.executions") < jobs:
            await asyncio.sleep(0.05)
    await connection.close()


async def measure(options_: argparse.Namespace) -> None:
    """Measure the features by turns, with plain jobs in between."""
    jobs, rounds = (1_000, 1) if options_.quick else (int(options_.jobs), int(options_.rounds))
    plain: list[float] = []
    found: dict[tuple[str, bool], list[float]] = {}
    with Receiver.running() as receiver, Postgres.running(programs=options_.postgres) as postgres:
        turns = 0
        for _ in range(rounds):
            for feature in FEATURES:
                for is_own in (False, True) if feature.own else (False,):
                    if turns % PLAIN_EVERY == 0:
                        plain.append(await turn(postgres, receiver, jobs=jobs))
                    turns += 1
                    spent = await turn(
                        postgres, receiver, jobs=jobs, feature=feature, is_own=is_own
                    )
                    found.setdefault((feature.name, is_own), []).append(spent)
        plain.append(await turn(postgres, receiver, jobs=jobs))
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    usual = median(plain)
    rows: list[Row] = [
        {
            "feature": "plain",
            "beside": f"{min(plain) / usual:.2f} to {max(plain) / usual:.2f}",
            "with": "",
            "CPU ms per job": usual,
        }
    ]
    for feature in FEATURES:
        used = found.get((feature.name, True))
        rows.append(
            {
                "feature": feature.name,
                "beside": round(median(found[feature.name, False]) / usual, 2),
                "with": "" if used is None else round(median(used) / usual, 2),
                "CPU ms per job": median(used or found[feature.name, False]),
            }
        )
    results.write(
        "features",
        title=f"What features cost {jobs} due jobs beside them, and with them",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, minutes=20.0, jobs=3_000, rounds=1)
