"""What each page of the dashboard costs at 300,000 jobs and ten million executions.

Nine jobs in ten have one of 400 crons, of which a tenth are at midnight; the others have intervals,
or are one-offs. Times are those of the server: from the request until the page is made, in
milliseconds, one page after the other; beside them the slowest statement that a page sends, on
average. The week is what the picture of the coming week costs once a minute, and `week, a million`
the same at 1,000,000 jobs. `/, nothing kept` is the overview with all of its parts but the week
read anew, at the same time. A stream is the open overview: how many statements a second one tab
costs, and a hundred. `lists, rows` is what the rows of four different open lists cost, read at
once, and a hundred tabs are open on these. The run fails where a page has a p95 of 100 ms, a
statement takes 50 ms, the week of a million jobs 150 ms in the middle, or open tabs cost over 1.5
statements a second, or 2 for those of lists.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import httpx
from litestar import Litestar

from app.asgi import create_app
from app.config import Settings
from app.web.job_lists import find_jobs
from app.web.live import Part
from app.web.search import OF_JOBS, searched
from app.web.shown_lists import Open
from benchmarks import bare
from benchmarks.support import load, options, results
from benchmarks.support.postgres import Postgres

PAGE_MS, STATEMENT_MS, WEEK_MS, A_SECOND, OF_LISTS = 100.0, 50.0, 150.0, 1.5, 2.0
TABS = 100
SECONDS = 10.0
JOBS = """
insert into tocsin.jobs (kind, target, name, tags, run_at, cron, every_seconds, next_run,
                         scheduled_for, planned_at, validated, unchecked, last_outcome,
                         last_finished_at, runs)
select 'http', '{"url": "https://example.com/hook", "method": "POST"}', format('job-%s', n),
    case when n % 100 = 0 then '{billing}'::text[] else '{}' end,
    case when n % 20 = 0 then at end,
    case when n % 20 > 1 and n % 10 = 3 then '0 0 * * *'
         when n % 20 > 1 then format('%s %s * * *', n % 20 * 3, n * 7 % 24) end,
    case when n % 20 = 1 then 300 * (1 + n % 7) end,
    at, at, now(), true, null,
    case when n % 50 = 0 then 'failed' else 'succeeded' end, now(), 1
from (select n, now() + random() * interval '1 day' as at
      from generate_series($1::bigint, $2::bigint) n) as planned
"""
PAGES = (
    "/",
    "/?span=hour",
    "/?span=week",
    "/jobs",
    "/jobs?sort=next_run",
    "/jobs?sort=failing",
    "/jobs?q=tag:billing",
    "/jobs?q=last:failed",
    "/jobs?q=name:job-29",
    "/jobs/job-1",
    "/executions",
    "/executions?q=outcome:failed",
    "/executions?q=job:job-1",
    "/executions?q=late:1",
    "/executions?q=tag:billing",
    "/executions?q=dead:true",
    "/upcoming",
    "/upcoming?hours=24",
    "/flows",
    "/calendars",
    "/alerts",
    "/instances",
    "/audit",
    "/keys",
)


async def fill(url: str, *, jobs: int, executions: int) -> None:
    """Put in jobs and executions, as they stand after weeks."""
    chunk = load.CHUNK
    starts = range(1, jobs + 1, chunk)
    await load.write(url, JOBS, [(start, min(start + chunk - 1, jobs)) for start in starts])
    await load.executions(url, executions)


@asynccontextmanager
async def served(url: str) -> AsyncIterator[tuple[Litestar, httpx.AsyncClient]]:
    """Serve the pages in this process, without a network."""
    app = create_app(Settings(database_url=url, access_log_level="off"))
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))  # type: ignore[arg-type] # the same ASGI
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
    ):
        yield app, client


async def measure_page(
    client: httpx.AsyncClient,
    connection: asyncpg.Connection,
    address: str,
    *,
    rounds: int,
    name: str = "",
    forget: Callable[[], None] = lambda: None,
) -> dict[str, object]:
    """Measure one page: its times, and its slowest statement; each time after `forget`."""

    async def get() -> None:
        (await client.get(address)).raise_for_status()

    return await measured(connection, get, name=name or address, rounds=rounds, before=forget)


async def measured(
    connection: asyncpg.Connection,
    ask: Callable[[], Awaitable[None]],
    *,
    name: str,
    rounds: int,
    before: Callable[[], None] = lambda: None,
) -> dict[str, object]:
    """Measure what `ask` takes, and its slowest statement; each time after `before`."""
    await ask()
    await connection.execute("select tocsin.pg_stat_statements_reset()")
    times = []
    for _ in range(rounds):
        before()
        started = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - started) * 1e3)
    slowest = await connection.fetchrow(
        """select left(regexp_replace(query, '[[:space:]]+', ' ', 'g'), 30) as name,
               mean_exec_time as ms
           from tocsin.pg_stat_statements
           where dbid = (select oid from pg_database where datname = current_database())
             and query not like '%pg_stat_statements%'
           order by mean_exec_time desc limit 1"""
    )
    return {
        "page": name,
        "p50 ms": results.median(times),
        "p95 ms": results.percentile(times, 95),
        "slowest statement": slowest["name"] if slowest else None,
        "its ms": slowest["ms"] if slowest else None,
    }


def forgetting(app: Litestar) -> Callable[[], None]:
    """Return what has all parts of the overview be due, but the week."""
    overview = app.state.overview

    def forget() -> None:
        for one in (*overview.parts.values(), overview.following):
            one.due = one.began = float("-inf")

    return forget


async def measure_week(app: Litestar, *, rounds: int) -> dict[str, object]:
    """Measure the picture of the coming week, made anew each time."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await app.state.week.renew()
        times.append((time.perf_counter() - started) * 1e3)
    return {"p50 ms": results.median(times), "p95 ms": results.percentile(times, 95)}


async def open_lists(app: Litestar) -> list[Part]:
    """Open the first page of the list of jobs in each order, and of a search."""
    parts = []
    for q, sort in (("", "newest"), ("", "next_run"), ("", "failing"), ("tag:billing", "newest")):
        search = searched(q, OF_JOBS, words="q")
        found = await find_jobs(app.state.reader, search, by=sort, cursor=None)
        asked = Open(of="jobs", q=q, sort=sort, cursor=None, shown=tuple(found.ids))
        app.state.lists.views["benchmark", asked] += 1
        parts.append(app.state.lists.open(asked))
    return parts


async def measure_rows(
    app: Litestar, connection: asyncpg.Connection, *, rounds: int
) -> dict[str, object]:
    """Measure what the rows of open lists cost, read and drawn."""

    async def read() -> None:
        await app.state.lists.read()

    return await measured(connection, read, name="lists, rows", rounds=rounds)


async def statements_a_second(
    parts: Sequence[Part], connection: asyncpg.Connection, tabs: int
) -> float:
    """Count the statements that open pages cost in a second."""

    async def watch(part: Part) -> None:
        while True:
            await part.read_fresh()
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(watch(parts[tab % len(parts)])) for tab in range(tabs)]
        await asyncio.sleep(1)
        await connection.execute("select tocsin.pg_stat_statements_reset()")
        await asyncio.sleep(SECONDS)
        calls = await connection.fetchval(
            """select sum(calls) from tocsin.pg_stat_statements
               where dbid = (select oid from pg_database where datname = current_database())
                 and query !~* 'pg_stat_statements|^(begin|commit)'"""
        )
        for one in watching:
            one.cancel()
    return float(calls or 0) / SECONDS


async def measure(chosen: argparse.Namespace) -> None:
    """Fill a database, and ask for each page."""
    jobs, executions = int(chosen.jobs), int(chosen.executions)
    many = int(chosen.many)
    if chosen.quick:
        jobs, executions, many = 10_000, 100_000, 50_000
    rounds = 5 if chosen.quick else 21
    with Postgres.running(programs=chosen.postgres) as postgres:
        url = await postgres.fresh("dashboard", tocsin=True)
        started = time.monotonic()
        await fill(url, jobs=jobs, executions=executions)
        print(f"loaded in {time.monotonic() - started:.0f} s", flush=True)
        connection = await asyncpg.connect(url)
        async with served(url) as (app, client):
            rows = [await measure_page(client, connection, page, rounds=rounds) for page in PAGES]
            cold = await measure_page(
                client,
                connection,
                "/",
                rounds=rounds,
                name="/, nothing kept",
                forget=forgetting(app),
            )
            rows.insert(0, cold)
            rows.append({"page": "week"} | await measure_week(app, rounds=rounds))
            overview = [app.state.parts["overview"]]
            one, hundred = [
                await statements_a_second(overview, connection, tabs) for tabs in (1, TABS)
            ]
            rows.append({"page": "1 tab, statements/s", "p50 ms": one})
            rows.append({"page": f"{TABS} tabs, statements/s", "p50 ms": hundred})
            opened = await open_lists(app)
            rows.append(await measure_rows(app, connection, rounds=rounds))
            of_lists = await statements_a_second(opened, connection, TABS)
            rows.append({"page": f"{TABS} lists, statements/s", "p50 ms": of_lists})
            await load.write(url, JOBS, [(jobs + 1, many)] if many > jobs else [])
            rows.append({"page": "week, a million"} | await measure_week(app, rounds=rounds))
        await connection.close()
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    results.write(
        "dashboard",
        title="Cost of the dashboard's pages",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=chosen.quick,
    )
    over = [
        str(row["page"])
        for row in rows
        if str(row["page"]).startswith(("/", "lists"))
        and (float(str(row["p95 ms"])) >= PAGE_MS or float(str(row["its ms"] or 0)) >= STATEMENT_MS)
    ]
    if float(str(rows[-1]["p50 ms"])) >= WEEK_MS:
        over.append("week, a million")
    if max(one, hundred) > A_SECOND or of_lists > OF_LISTS:
        over.append("open tabs")
    if over:
        raise AssertionError(f"over the bounds: {', '.join(over)}")


if __name__ == "__main__":
    options.run(measure, about=__doc__, jobs=300_000, executions=10_000_000, many=1_000_000)
