"""How fast jobs are put in: the API one by one and in batches, SQL one by one, and COPY.

SQL is driven by pgbench with prepared statements, at 1, 8 and 32 writers, with a listener connected
as there is in use, and all ways take turns within each round. "No triggers" gives the planned
columns itself. "Promise held": this program keeps the promise in force that an instance publishes
under a storm, so that the trigger's own cost is seen; "instance at work" is the whole, with an
instance that carries the jobs out on the same cores. "No promise" is what the trigger costs when
it notifies each time, "plain NOTIFY" a trigger that does only that. The second half runs with a
WAL flush of 1 ms (`commit_delay`), as on a cloud's disk. Ratios are to the same jobs without
triggers.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp

import aiohttp
import asyncpg
from msgspec import Struct

from app.db import Database, polling
from benchmarks import bare
from benchmarks.support import options, processes, results
from benchmarks.support.postgres import Postgres, free_port
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

WRITERS = (1, 8, 32)
TARGET = """{{"url": "{url}", "method": "POST", "headers": {{"X-Tenant": "acme"}},
 "json": {{"invoice": 48213, "amount": 19.99}}}}"""
INSERT = f"insert into tocsin.jobs (kind, target, run_at) values ('http', '{TARGET}', {{at}});"
PLANNED = f"""insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at)
values ('http', '{TARGET}', {{at}}, {{at}}, {{at}}, now());"""
NOWHERE = "http://127.0.0.1:9/hook"
TOMORROW, NOW = "now() + interval '1 day'", "now()"
OFF, ON = (
    "alter table tocsin.jobs disable trigger user",
    "alter table tocsin.jobs enable trigger user",
)
PLAIN = """
create or replace function plain_notify() returns trigger language plpgsql as
$$ begin perform pg_notify('tocsin_jobs', ''); return null; end $$;
create or replace trigger plain_notify after insert on tocsin.jobs
    for each row execute function plain_notify();
alter table tocsin.jobs disable trigger plain_notify;
"""
ONLY_PLAIN = f"{OFF}; alter table tocsin.jobs enable trigger plain_notify"
NO_PLAIN = f"{ON}; alter table tocsin.jobs disable trigger plain_notify"
HELD_SECONDS = 4.0


class Way(Struct, frozen=True):
    """One way to insert a job with SQL."""

    name: str
    prepare: str
    insert: str
    at: str
    base: str = ""
    """The way it is compared with."""
    promise: bool = False
    instance: bool = False


FAR, DUE = "SQL, tomorrow, no triggers", "SQL, due now, no triggers"
WAYS = (
    Way(FAR, OFF, PLANNED, TOMORROW),
    Way("SQL, tomorrow", NO_PLAIN, INSERT, TOMORROW, FAR),
    Way("SQL, tomorrow, plain NOTIFY", ONLY_PLAIN, PLANNED, TOMORROW, FAR),
    Way(DUE, OFF, PLANNED, NOW),
    Way("SQL, due now, promise held", NO_PLAIN, INSERT, NOW, DUE, promise=True),
    Way("SQL, due now, no promise", NO_PLAIN, INSERT, NOW, DUE),
    Way("SQL, due now, instance at work", NO_PLAIN, INSERT, NOW, DUE, instance=True),
)
SLOW_DISK = {"commit_delay": "1000", "commit_siblings": "0"}


@asynccontextmanager
async def promising(url: str) -> AsyncIterator[None]:
    """Keep a promise in force, as an instance does under a storm."""
    async with Database.connect(url, application_name="promise") as db:

        async def hold() -> None:
            while True:
                await polling.announce(db, seconds=HELD_SECONDS)
                await asyncio.sleep(HELD_SECONDS / 4)

        await polling.announce(db, seconds=HELD_SECONDS)
        holding = asyncio.create_task(hold())
        try:
            yield
        finally:
            holding.cancel()
            await asyncio.wait({holding})
            await polling.withdraw(db)


class Bench:
    """A database and the pgbench script that is written anew for each way."""

    def __init__(self, postgres: Postgres, url: str, receiver: Receiver) -> None:
        self.postgres = postgres
        self.url = url
        self.receiver = receiver
        directory = Path(mkdtemp(prefix="tocsin-pgbench-"))
        directory.chmod(0o755)
        self.script = directory / "insert.sql"

    async def commits(self, way: Way, writers: int, seconds: int) -> float:
        """Return commits a second."""
        target = self.receiver.base_url + "1" if way.instance else NOWHERE
        self.script.write_text(way.insert.format(at=way.at, url=target))
        self.script.chmod(0o644)
        connection = await asyncpg.connect(self.url)
        await connection.execute(way.prepare)
        await connection.execute("truncate tocsin.jobs, tocsin.executions")
        await connection.close()
        if way.promise:
            async with promising(self.url):
                return await self.pgbench(writers, seconds)
        if way.instance:
            with processes.tocsin(self.url, log=processes.LOGS / "enqueue.log") as instance:
                await asyncio.sleep(2)
                await self.pgbench(writers, 2)  # until it has promised, as in a storm that lasts
                tps = await self.pgbench(writers, seconds)
                instance.check()
            return tps
        return await self.pgbench(writers, seconds)

    async def pgbench(self, writers: int, seconds: int) -> float:
        """Run the script and return what pgbench counted."""
        printed = await asyncio.to_thread(
            self.postgres.run,
            "pgbench",
            *("-n", "-M", "prepared", "-f", str(self.script)),
            *("-c", str(writers), "-j", str(min(writers, 2)), "-T", str(seconds), self.url),
        )
        match = re.search(r"tps = ([\d.]+)", printed)
        assert match is not None, printed
        return float(match[1])


async def by_pgbench(postgres: Postgres, *, seconds: int, rounds: int, disk: str) -> list[Row]:
    """Return commits a second of each way and number of writers."""
    url = await postgres.fresh("enqueue", tocsin=True)
    connection = await asyncpg.connect(url)
    await connection.execute(PLAIN)
    await connection.add_listener("tocsin_jobs", lambda *_: None)
    found: dict[tuple[str, int], list[float]] = {}
    with Receiver.running() as receiver:
        bench = Bench(postgres, url, receiver)
        for number in range(rounds):
            for writers in WRITERS:
                for way in WAYS if number % 2 == 0 else WAYS[::-1]:
                    if way.instance and writers < WRITERS[-1]:
                        continue
                    longer = seconds * 2 if writers == WRITERS[-1] else seconds
                    tps = await bench.commits(way, writers, longer)
                    found.setdefault((way.name, writers), []).append(tps)
    await connection.close()
    return [sql_row(way, found, disk) for way in WAYS]


def sql_row(way: Way, found: dict[tuple[str, int], list[float]], disk: str) -> Row:
    """Write medians, and at the most writers the ratio and how far apart the rounds were."""
    most = WRITERS[-1]
    values = found[way.name, most]
    row: dict[str, object] = {"disk": disk, "way": way.name}
    for writers in WRITERS:
        if rates := found.get((way.name, writers)):
            row[f"{writers} writers"] = results.median(rates)
    row["of no trigger"] = results.median(values) / results.median(
        found[way.base or way.name, most]
    )
    row["rounds"] = f"{min(values):,.0f} to {max(values):,.0f}"
    return row


async def by_copy(postgres: Postgres, jobs: int) -> list[Row]:
    """Return jobs a second of COPY, with and without triggers, so many of them at a time."""
    url = await postgres.fresh("copy", tocsin=True)
    moment = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    target = json.dumps({"url": NOWHERE})
    columns = ["kind", "target", "run_at", "next_run", "scheduled_for", "planned_at"]
    rows: list[Row] = []
    for way, prepare, given in (
        ("COPY, no triggers", OFF, columns),
        ("COPY, tomorrow", ON, columns[:3]),
    ):
        line = "\t".join(["http", target, *[moment] * (len(given) - 2)]) + "\n"
        row: dict[str, object] = {"disk": "real", "way": way}
        for writers in WRITERS:
            connections = [await asyncpg.connect(url) for _ in range(writers)]
            await connections[0].execute(prepare)
            await connections[0].execute("truncate tocsin.jobs")
            data = line.encode() * (jobs // writers)
            started = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for one in connections:
                    group.create_task(
                        one.copy_to_table(
                            "jobs", schema_name="tocsin", columns=given, source=BytesIO(data)
                        )
                    )
            rate = jobs // writers * writers / (time.perf_counter() - started)
            row[f"{writers} writers"] = rate
            for one in connections:
                await one.close()
        rows.append(row)
    rows[1] = {**rows[1], "of no trigger": ratio(rows[1], rows[0])}
    return rows


def ratio(row: Row, base: Row) -> float:
    """Compare two rows at the most writers."""
    column = f"{WRITERS[-1]} writers"
    return float(str(row[column])) / float(str(base[column]))


async def by_api(postgres: Postgres, jobs: int) -> list[Row]:
    """Return jobs a second through `POST /v1/jobs` and its batches, with triggers and without."""
    url = await postgres.fresh("api", tocsin=True)
    without = await by_api_on(url, jobs, prepare=OFF, label=", no triggers")
    there = await by_api_on(url, jobs, prepare=ON, label="")
    compared = [
        {**row, "of no trigger": ratio(row, base)} for row, base in zip(there, without, strict=True)
    ]
    return [*without, *compared]


async def by_api_on(url: str, jobs: int, *, prepare: str, label: str) -> list[Row]:
    """Return the two rows of the API with the table in one condition."""
    await execute(url, f"{prepare}; truncate tocsin.jobs")
    port = free_port()
    environment = {
        "TOCSIN_DATABASE_URL": url,
        "TOCSIN_PORT": str(port),
        "TOCSIN_ALLOW_PRIVATE_TARGETS": "true",
    }
    base = f"http://127.0.0.1:{port}"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    job = {"kind": "http", "target": {"url": "http://127.0.0.1:9/x"}, "run_at": tomorrow}
    command = [sys.executable, "-m", "app", "api"]
    log = processes.LOGS / "api.log"
    single: Row = {"disk": "real", "way": f"API, one by one{label}"}
    batch: Row = {"disk": "real", "way": f"API, batches of 1,000{label}"}
    with processes.running(command, environment=environment, log=log) as api:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await ready(session, base, api)
            for writers in WRITERS:
                numbers = iter(range(jobs))
                per_second = await sending(session, f"{base}/v1/jobs", job, numbers, writers)
                single = {**single, f"{writers} writers": jobs * per_second}
                calls = max(jobs // 400, writers)
                per_second = await sending(
                    session,
                    f"{base}/v1/jobs/batch",
                    {"jobs": [job] * 1000},
                    iter(range(calls)),
                    writers,
                )
                batch = {**batch, f"{writers} writers": calls * per_second * 1000}
    return [single, batch]


async def execute(url: str, statement: str) -> None:
    """Run one statement."""
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def sending(
    session: aiohttp.ClientSession,
    url: str,
    body: object,
    numbers: Iterable[int],
    writers: int,
) -> float:
    """Send `body` for every number, so many at a time; return one by the seconds it took."""
    data = json.dumps(body).encode()

    async def send() -> None:
        for _ in numbers:
            headers = {"Content-Type": "application/json"}
            async with session.post(url, data=data, headers=headers) as response:
                if response.status >= 300:
                    raise RuntimeError(f"{url} answered {response.status}: {await response.text()}")
                await response.read()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(send())
    return 1 / (time.perf_counter() - started)


async def ready(session: aiohttp.ClientSession, base: str, api: processes.Running) -> None:
    """Wait until the API answers."""
    async with asyncio.timeout(30):
        while True:
            api.check()
            try:
                async with session.get(f"{base}/health/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def measure(options_: argparse.Namespace) -> None:
    """Measure every way in."""
    seconds, rounds, jobs = (
        (1, 1, 300)
        if options_.quick
        else (int(options_.seconds), int(options_.rounds), int(options_.jobs))
    )
    rows: list[Row] = []
    with Postgres.running(programs=options_.postgres) as postgres:
        try:
            rows += await by_api(postgres, jobs)
        except RuntimeError as error:
            print(f"API: {error}", file=sys.stderr)
        rows += await by_copy(postgres, jobs * 10)
        rows += await by_pgbench(postgres, seconds=seconds, rounds=rounds, disk="real")
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    with Postgres.running(programs=options_.postgres, **SLOW_DISK) as postgres:
        rows += await by_pgbench(postgres, seconds=seconds, rounds=rounds, disk="1 ms flush")
    results.write(
        "enqueue",
        title="Jobs put in, a second",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )
    labelled = [{**row, "who": f"{row['way']} ({row['disk']})"} for row in rows]
    results.bars(
        "enqueue", labelled, label="who", values=["32 writers"], axis="jobs/s", quick=options_.quick
    )


if __name__ == "__main__":
    options.run(measure, about=__doc__, seconds=2, rounds=3, jobs=3_000)
