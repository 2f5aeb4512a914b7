"""What each statement costs as the tables grow: the times have to stay flat.

Jobs lie far ahead and the executions are spread over the days that are kept. A claim and a settle
move a batch of 100 due jobs; a look finds nothing; a list is the first page. The numbers are
medians. The plans are kept in `results/plans`, and a sequential scan of a large table, or a
statement that touches more than 1.5 times the pages it does in the small one, fails the run.
"""

import argparse
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from app.core.claim import Claim
from app.core.outcome import Outcome, Report
from app.core.transition import settled
from app.db import Database, claims
from app.db.listener import Session, listening
from app.db.queries import query
from app.executors import KINDS
from benchmarks import bare
from benchmarks.support import options, results
from benchmarks.support.postgres import Postgres
from benchmarks.support.results import Row

BATCH = 100
CHUNK = 500_000
JOBS = """
insert into tocsin.jobs (kind, target, run_at, tags)
select 'http', jsonb_build_object('url', 'http://127.0.0.1:9/' || n),
       now() + interval '1 day' + random() * interval '300 days',
       case when n % 1000 = 0 then array['rare'] else '{}' end
from generate_series(1, $1::bigint) n
"""
PARTITION = """
create table if not exists tocsin.executions_{day:%Y%m%d} partition of tocsin.executions
for values from ('{day:%Y-%m-%d} 00:00Z') to ('{next:%Y-%m-%d} 00:00Z')
"""
EXECUTIONS = """
insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, started_at,
                               finished_at, instance, status_code)
select j.id, n, 'http', moment, 1, case when n % 100 = 0 then 'failed' else 'succeeded' end,
       moment, moment, 'bench:1:0000', 200
from (select array_agg(id) as ids from (select id from tocsin.jobs limit 10000) as sample) as known,
     generate_series(1, $1::bigint) n,
     lateral (select known.ids[1 + n % array_length(known.ids, 1)] as id) as j,
     lateral (select now() - (n % 29) * interval '1 day' as moment) as day
"""


class Costs:
    """Times one database's statements."""

    def __init__(self, db: Database, session: Session, name: str, *, quick: bool) -> None:
        self.db = db
        self.session = session
        self.name = name
        self.quick = quick
        self.held: list[Claim] = []

    async def look(self) -> None:
        """Find nothing due."""
        await self.claims()

    async def claim(self) -> None:
        """Claim a batch."""
        self.held = (await self.claims()).claims

    async def claims(self) -> claims.Look:
        """Look as an instance does."""
        return await claims.look(
            self.session,
            limit=BATCH,
            ahead_seconds=0.0,
            lease_seconds=60.0,
            kinds=KINDS,
            instance="bench:1:0000",
        )

    async def settle(self) -> None:
        """Settle the batch that was claimed."""
        now = datetime.now(UTC)
        report = Report(outcome=Outcome.SUCCEEDED, status_code=200)
        await claims.settle(
            self.db,
            [
                settled(one, report, started_at=now, finished_at=now, instance="bench", jitter=0.5)
                for one in self.held
            ],
        )

    async def make_due(self) -> None:
        """Have a batch due."""
        await self.db.pool.execute(
            "insert into tocsin.jobs (kind, target, run_at) select 'http', '{\"url\": \"http://x/\"}',"
            f" now() from generate_series(1, {BATCH})"
        )

    async def insert(self) -> None:
        """Insert one job of next week."""
        await self.db.pool.execute(
            "insert into tocsin.jobs (kind, target, run_at)"
            " values ('http', '{\"url\": \"http://x/\"}', now() + interval '7 days')"
        )

    async def list_jobs(self) -> None:
        """Read the first page of jobs."""
        await self.db.fetch("jobs.page", **PAGE)

    async def list_executions(self) -> None:
        """Read the first page of executions."""
        await self.db.fetch("executions.page", **EXECUTIONS_PAGE)

    async def medians(self, rounds: int) -> dict[str, float]:
        """Milliseconds of each statement."""
        times: dict[str, list[float]] = {}

        async def timed(name: str, call: Callable[[], Awaitable[None]]) -> None:
            started = time.perf_counter()
            await call()
            times.setdefault(name, []).append((time.perf_counter() - started) * 1e3)

        for _ in range(rounds):
            await timed("look", self.look)
            await self.make_due()
            await timed("claim", self.claim)
            await timed("settle", self.settle)
            await timed("insert", self.insert)
            await timed("list jobs", self.list_jobs)
            await timed("list executions", self.list_executions)
        return {name: results.median(values) for name, values in times.items()}

    async def pages(self) -> dict[str, int]:
        """Explain the statements, keep the plans, and return how many pages each touches."""
        await self.make_due()
        found = {}
        pooled = await self.db.pool.acquire()
        for name, connection, arguments in (
            ("claims.look", self.session.connection, LOOK),
            ("jobs.page", pooled, PAGE),
            ("executions.page", pooled, EXECUTIONS_PAGE),
        ):
            statement = query(name)
            # EXPLAIN of a statement with parameters shows a plan made for their values; only that
            # of an EXECUTE shows the one that the session's plan_cache_mode leads to.
            values = ", ".join(map(literal, statement.arguments(arguments)))
            await connection.execute(f"prepare probe as {statement.sql}")
            lines = await connection.fetch(
                "explain (analyze, buffers, costs off, timing off, summary off)"
                + (f" execute probe({values})" if values else " execute probe")
            )
            await connection.execute("deallocate probe")
            plan = "\n".join(line[0] for line in lines)
            keep_plan(f"{name}-{self.name}", plan, quick=self.quick)
            if re.search(r"Seq Scan on (jobs|executions_\d)", plan):
                raise AssertionError(f"{name} reads a whole table at {self.name}:\n{plan}")
            found[name] = pages_of(plan)
        await self.db.pool.release(pooled)
        return found


LOOK: dict[str, Any] = {
    "limit": BATCH,
    "ahead_seconds": 0.0,
    "lease_seconds": 60.0,
    "kinds": KINDS,
    "instance": "bench:1:0000",
    "since": None,
}


def nothing_but_limit(name: str) -> dict[str, Any]:
    """Return the arguments of a first page without filters."""
    return {parameter: 50 if parameter == "limit" else None for parameter in query(name).parameters}


PAGE = nothing_but_limit("jobs.page")
EXECUTIONS_PAGE = nothing_but_limit("executions.page")


def pages_of(plan: str) -> int:
    """Return how many pages a plan touched, whether in memory or not."""
    whole = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    return 0 if whole is None else sum(int(part or 0) for part in whole.groups())


def literal(value: object) -> str:
    """Write a value into SQL; only our own constants come here."""
    match value:
        case None:
            return "null"
        case str():
            return f"'{value}'"
        case tuple():
            return f"array[{', '.join(map(literal, value))}]"
        case _:
            return repr(value)


def keep_plan(name: str, plan: str, *, quick: bool) -> None:
    """Write a plan, without what differs from run to run."""
    directory = results.directory(quick=quick) / "plans"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.txt").write_text(plan + "\n", "utf-8")


async def load(url: str, *, jobs: int, executions: int) -> None:
    """Fill the tables."""
    connection = await asyncpg.connect(url)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(1, 30):
        day = today - timedelta(days=ago)
        await connection.execute(PARTITION.format(day=day, next=day + timedelta(days=1)))
    for statement, count in ((JOBS, jobs), (EXECUTIONS, executions)):
        for done in range(0, count, CHUNK):
            await connection.execute(statement, min(CHUNK, count - done), timeout=600)
    await connection.execute("vacuum analyze", timeout=1800)
    await connection.close()


async def measure(options_: argparse.Namespace) -> None:
    """Measure each size in a database of its own."""
    sizes = (1_000, 20_000) if options_.quick else (1_000, 100_000, int(options_.most))
    rows: list[Row] = []
    pages: dict[int, dict[str, int]] = {}
    with Postgres.running(programs=options_.postgres) as postgres:
        for jobs in sizes:
            url = await postgres.fresh(f"scale {jobs}", tocsin=True)
            executions = jobs if jobs == sizes[-1] else min(jobs, 100_000)
            await load(url, jobs=jobs, executions=executions)
            async with (
                Database.connect(url, application_name="bench") as db,
                listening(url, ring=lambda: None, application_name="bench") as session,
            ):
                costs = Costs(db, session, f"{jobs}", quick=options_.quick)
                await costs.medians(5)
                medians = await costs.medians(15 if options_.quick else 100)
                pages[jobs] = await costs.pages()
            rows.append(
                {"jobs": jobs, "executions": executions}
                | {f"{name} ms": value for name, value in medians.items()}
            )
            print(results.table(rows[-1:]), flush=True)
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "scale",
        title="Cost of each statement by size",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    check_pages(pages[sizes[0]], pages[sizes[-1]])


def check_pages(small: dict[str, int], large: dict[str, int]) -> None:
    """Fail where a statement touches more pages in the larger tables."""
    rows = [{"statement": name, "small": small[name], "large": large[name]} for name in small]
    print(f"pages touched, of {BATCH} claimed and of first pages\n\n{results.table(rows)}")
    # An index of a larger table may be a level deeper, which is some pages more for each probe.
    grown = [name for name in small if large[name] > small[name] * 1.5 + 10]
    if grown:
        raise AssertionError(f"{', '.join(grown)} touches more pages in the larger table")


if __name__ == "__main__":
    options.run(measure, about=__doc__, most=10_000_000)
