"""What each statement costs as the tables grow: the times have to stay flat.

Jobs lie far ahead and the executions are spread over the days that are kept. A claim and a settle
move a batch of 100 due jobs; a look finds nothing; a list is the first page. The numbers are
medians. The plans are kept in `results/plans`. The run fails where one of them reads a whole table
or takes another index than the one made for it, and where a statement touches more than 1.5 times
the pages, or takes more than 1.5 times as long, as in the smallest tables. `--most 1e5` leaves out
the largest.
"""

import argparse
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import asyncpg

from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import settled
from app.db import Database, claims
from app.db.listener import Session, open_session
from app.db.queries import query
from app.targets.registry import KINDS
from benchmarks import bare
from benchmarks.support import load, options, results
from benchmarks.support.postgres import Postgres
from benchmarks.support.results import Row

BATCH = 100
WARMING_ROUNDS = 5
FLAT = 1.5
"""What is flat takes at most so many times as long in the largest tables as in the smallest."""
STATEMENTS = ("look", "claim", "settle", "insert", "list jobs", "list executions")
INDEXES = {
    "claims.look": {
        "jobs_claimable",
        "jobs_pkey",
        "jobs_unplanned",
        "pauses_order",
        "polling_pkey",
    },
    "jobs.page": {"jobs_pkey"},
}


class Asked:
    """A session that keeps what each statement was last asked with."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.arguments: dict[str, dict[str, Any]] = {}

    async def fetch(self, name: str, /, **arguments: Any) -> list[asyncpg.Record]:  # noqa: ANN401
        """Run the query called `group.name` and return its rows."""
        self.arguments[name] = arguments
        return await self.session.fetch(name, **arguments)


class Costs:
    """Times one database's statements."""

    def __init__(self, db: Database, session: Session, name: str, *, quick: bool) -> None:
        self.db = db
        self.session = Asked(session)
        self.name = name
        self.quick = quick
        self.held: list[Claim] = []
        self.times: dict[str, list[float]] = {}

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
        await self.db.fetch_filtered("jobs.page", **PAGE)

    async def list_executions(self) -> None:
        """Read the first page of executions."""
        await self.db.fetch_filtered("executions.page", **EXECUTIONS_PAGE)

    async def timed(self, name: str, call: Callable[[], Awaitable[None]]) -> None:
        """Measure one call."""
        started = time.perf_counter()
        await call()
        self.times.setdefault(name, []).append((time.perf_counter() - started) * 1e3)

    async def round(self) -> None:
        """Measure each statement once."""
        await self.timed("look", self.look)
        await self.make_due()
        await self.timed("claim", self.claim)
        await self.timed("settle", self.settle)
        await self.timed("insert", self.insert)
        await self.timed("list jobs", self.list_jobs)
        await self.timed("list executions", self.list_executions)

    def medians(self) -> dict[str, object]:
        """Milliseconds of each statement."""
        return {f"{name} ms": results.median(values) for name, values in self.times.items()}

    async def pages(self) -> dict[str, int]:
        """Explain the statements, keep the plans, and return how many pages each touches."""
        await self.make_due()
        found = {}
        pooled = await self.db.pool.acquire()
        for name, connection, arguments in (
            (
                "claims.look",
                self.session.session.connection,
                self.session.arguments["claims.look"],
            ),
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
            check_plan(name, plan, of=self.name)
            found[name] = pages_of(plan)
        await self.db.pool.release(pooled)
        return found


def nothing_but_limit(name: str) -> dict[str, Any]:
    """Return the arguments of a first page without filters."""
    return {
        parameter: 50 if parameter in ("limit", "window") else None
        for parameter in query(name).parameters
    }


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
        case ():
            return "'{}'"
        case tuple():
            return f"array[{', '.join(map(literal, value))}]"
        case _:
            return repr(value)


def check_plan(name: str, plan: str, *, of: str) -> None:
    """Fail where a plan reads a whole table or uses other indexes than those made for it."""
    used = set(re.findall(r"Index (?:Only )?Scan (?:Backward )?using (\w+)", plan))
    if re.search(r"Seq Scan on (jobs|executions_\d)", plan) or used != INDEXES.get(name, used):
        raise AssertionError(f"{name} is not planned as it should be at {of}:\n{plan}")


def keep_plan(name: str, plan: str, *, quick: bool) -> None:
    """Write a plan, without what differs from run to run."""
    directory = results.directory(quick=quick) / "plans"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.txt").write_text(plan + "\n", "utf-8")


async def measure(options_: argparse.Namespace) -> None:
    """Measure each size in a database of its own, in turns: what else goes on meets them all."""
    most = 20_000 if options_.quick else int(options_.most)
    sizes = sorted({1_000, min(100_000, most), most})
    rounds = 15 if options_.quick else 100
    rows: list[dict[str, object]] = []
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(Postgres.running(programs=options_.postgres))
        measured = []
        for jobs in sizes:
            url = await postgres.fresh(f"scale {jobs}", tocsin=True)
            executions = jobs if jobs == most else min(jobs, 100_000)
            started = time.monotonic()
            await load.jobs(url, jobs)
            await load.executions(url, executions)
            print(f"{jobs:,} jobs loaded in {time.monotonic() - started:.0f} s", flush=True)
            rows.append({"jobs": jobs, "executions": executions})
            db = await stack.enter_async_context(Database.connect(url, application_name="bench"))
            session = await stack.enter_async_context(
                open_session(url, wake=lambda: None, application_name="bench")
            )
            measured.append(Costs(db, session, f"{jobs}", quick=options_.quick))
        for number in range(rounds + WARMING_ROUNDS):
            for costs in measured:
                await costs.round()
                if number < WARMING_ROUNDS:
                    costs.times.clear()
        rows = [row | costs.medians() for row, costs in zip(rows, measured, strict=True)]
        pages = [await costs.pages() for costs in measured]
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "scale",
        title="Cost of each statement by size",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    check_pages(pages[0], pages[-1])
    check_times(rows[0], rows[-1])


def check_pages(small: dict[str, int], large: dict[str, int]) -> None:
    """Fail where a statement touches more pages in the larger tables."""
    rows = [{"statement": name, "small": small[name], "large": large[name]} for name in small]
    print(f"pages touched, of {BATCH} claimed and of first pages\n\n{results.table(rows)}")
    # An index of a larger table is up to two levels deeper; the first page of executions asks one
    # of each day that is kept.
    probes = dict.fromkeys(small, 5) | {"executions.page": load.DAYS}
    grown = [name for name in small if large[name] > small[name] * 1.5 + 2 * probes[name]]
    if grown:
        raise AssertionError(f"{', '.join(grown)} touches more pages in the larger table")


def check_times(small: Row, large: Row) -> None:
    """Fail where a statement takes longer in the larger tables."""
    ratios = {
        name: float(str(large[f"{name} ms"])) / float(str(small[f"{name} ms"]))
        for name in STATEMENTS
    }
    print("\n".join(f"{name}: {ratio:.2f} times as long" for name, ratio in ratios.items()))
    if grown := [name for name, ratio in ratios.items() if ratio > FLAT]:
        raise AssertionError(f"{', '.join(grown)} takes more than {FLAT} times as long")


if __name__ == "__main__":
    options.run(measure, about=__doc__, most=10_000_000)
