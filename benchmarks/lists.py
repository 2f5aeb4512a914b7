"""What the lists, counts and questions cost at a thousand jobs and at ten million.

The oldest jobs are up to 5,000 of each state, and as many that have a run beside their plan; all
others lie far ahead. One execution in a hundred failed, none was lost. The numbers are medians of
the milliseconds that a first page of 50 takes, and how many pages of 8 KB Postgres touches for it.
What an index serves touches as many at any size, but for the levels of the index; `executing`,
`retrying` and `invalid` read what there is of leases, runs and kinds; what is searched ends after
100,000 jobs, here with an empty page. The run fails where one touches more. `--most 1e5` leaves out
the largest.
"""

import argparse
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from msgspec import Struct

from app.api import metrics
from app.core.health import LATE_SECONDS
from app.core.jobs.job import JobState
from app.db import Database, executions, instances, jobs
from app.db.executions import ExecutionFilter
from app.db.jobs import JobFilter
from benchmarks import bare
from benchmarks.support import load, options, results
from benchmarks.support.postgres import Postgres

SERVED = 1_000
"""Pages that what an index serves touches at most."""
COLLECTED = 100_000
"""Pages that what reads all leases, runs or jobs of a kind touches at most: up to 20 for each."""
SEARCHED = 150_000
"""Pages that what searches 100,000 jobs touches at most: one for each, and of the index."""

Ask = Callable[[Database], Awaitable[object]]


class Question(Struct, frozen=True, kw_only=True):
    """What is asked of the database, and how many pages that may touch."""

    name: str
    ask: Ask
    most: int = SERVED


def listed(name: str, most: int = SERVED, **filters: Any) -> Question:  # noqa: ANN401
    """Return the question for a first page of jobs."""
    wanted = JobFilter(**filters)
    return Question(
        name=f"jobs {name}".strip(),
        ask=lambda db: jobs.list_page(db, wanted, before=None, limit=50),
        most=most,
    )


def executed(name: str, **filters: Any) -> Question:  # noqa: ANN401
    """Return the question for a first page of executions."""
    wanted = ExecutionFilter(**filters)
    return Question(
        name=f"executions {name}".strip(),
        ask=lambda db: executions.list_page(db, wanted, before=None, limit=50),
    )


def asked(name: str, **arguments: Any) -> Question:  # noqa: ANN401
    """Return a named query as a question."""
    return Question(name=name, ask=lambda db: db.fetch(name, **arguments), most=COLLECTED)


ALONG = {JobState.EXECUTING, JobState.RETRYING, JobState.INVALID}
"""The states that leases, runs or kinds are read for."""
QUESTIONS = (
    listed(""),
    *(
        listed(f"state={state}", COLLECTED if state in ALONG else SERVED, state=state)
        for state in JobState
    ),
    listed("tag=rare", COLLECTED, tags=["rare"]),
    listed("name=none", name_prefix="none"),
    listed("name=old failed", COLLECTED, name_prefix="old failed"),
    listed("name=old", SEARCHED, name_prefix="old"),
    listed("kind=http", kind="http"),
    listed("kind=fax", SEARCHED, kind="fax"),
    listed("q=none", SEARCHED, text="none"),
    executed(""),
    executed("outcome=failed", outcomes=["failed"]),
    executed("outcome=lost", outcomes=["lost"]),
    Question(name="GET /v1/stats", ask=instances.read_stats, most=COLLECTED),
    Question(name="GET /metrics", ask=metrics.read_all, most=COLLECTED),
    asked("levels.lateness"),
    asked("doctor.vitals", retention_days=30, late_seconds=LATE_SECONDS),
    asked("doctor.invalid", most=1000),
    asked("doctor.runs", most=1000),
    asked("kinds.nobodys", most=1000),
    asked("upkeep.resume_runs"),
)


async def measure_one(db: Database, question: Question, *, rounds: int) -> tuple[float, int]:
    """Return the median milliseconds of a question, and how many pages it touches."""
    await question.ask(db)
    times = []
    await db.pool.execute("select tocsin.pg_stat_statements_reset()")
    for _ in range(rounds):
        started = time.perf_counter()
        await question.ask(db)
        times.append((time.perf_counter() - started) * 1e3)
    pages = await db.pool.fetchval(
        """select sum(shared_blks_hit + shared_blks_read)::bigint from tocsin.pg_stat_statements
           where dbid = (select oid from pg_database where datname = current_database())"""
    )
    return results.median(times), pages // rounds


async def measure(options_: argparse.Namespace) -> None:
    """Fill a database of each size, and ask each of them in turns."""
    most = 20_000 if options_.quick else int(options_.most)
    sizes = sorted({1_000, most})
    rounds = 3 if options_.quick else 9
    rows: list[dict[str, object]] = [{"question": one.name} for one in QUESTIONS]
    over = []
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(Postgres.running(programs=options_.postgres))
        for size in sizes:
            url = await postgres.fresh(f"lists {size}", tocsin=True)
            started = time.monotonic()
            await load.jobs_of_all_sorts(url, size)
            await load.executions(url, min(size, 2_000_000))
            print(f"{size:,} jobs loaded in {time.monotonic() - started:.0f} s", flush=True)
            db = await stack.enter_async_context(
                Database.connect(url, application_name="bench", max_connections=1)
            )
            for question, row in zip(QUESTIONS, rows, strict=True):
                milliseconds, pages = await measure_one(db, question, rounds=rounds)
                row |= {f"ms at {size:,}": milliseconds, f"pages at {size:,}": pages}
                if pages > question.most:
                    over.append(f"{question.name} touches {pages:,} pages at {size:,} jobs")
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "lists",
        title="Cost of lists and questions by size",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    if over:
        raise AssertionError("; ".join(over))


if __name__ == "__main__":
    options.run(measure, about=__doc__, most=10_000_000)
