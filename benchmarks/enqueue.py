"""How fast jobs are put in: the API one by one and in batches, SQL one by one, and COPY.

SQL is driven by pgbench with prepared statements, at 1, 8 and 32 writers, with a listener connected
as there is in use. Its variants are a table without our two triggers, ours with jobs of tomorrow,
ours with jobs due now, and a plain NOTIFY on every insert instead of ours. All variants take turns
within each round. The second half runs with a WAL flush of 1 ms (`commit_delay`), as on a cloud's
disk.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import aiohttp
import asyncpg

from benchmarks import bare
from benchmarks.support import options, processes, results
from benchmarks.support.postgres import Postgres, free_port
from benchmarks.support.results import Row

INSERT = """insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for)
values ('http', '{{"url": "http://127.0.0.1:9/x"}}', {at}, {at}, {at});"""
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
VARIANTS = {
    "no triggers": (OFF, TOMORROW),
    "tomorrow": (NO_PLAIN, TOMORROW),
    "due now": (NO_PLAIN, NOW),
    "plain NOTIFY": (ONLY_PLAIN, TOMORROW),
}
SLOW_DISK = {"commit_delay": "1000", "commit_siblings": "0"}


async def by_pgbench(postgres: Postgres, *, seconds: int, rounds: int, disk: str) -> list[Row]:
    """Return commits a second of each variant and number of writers."""
    url = await postgres.fresh("enqueue", tocsin=True)
    connection = await asyncpg.connect(url)
    await connection.execute(PLAIN)
    listener = await asyncpg.connect(url)
    await listener.add_listener("tocsin_jobs", lambda *_: None)
    directory = Path(mkdtemp(prefix="tocsin-pgbench-"))
    directory.chmod(0o755)
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for writers in (1, 8, 32):
            for variant, (prepare, at) in VARIANTS.items():
                await connection.execute(prepare)
                await connection.execute("truncate tocsin.jobs")
                script = directory / "insert.sql"
                script.write_text(INSERT.format(at=at))
                script.chmod(0o644)
                printed = await asyncio.to_thread(
                    postgres.run,
                    "pgbench",
                    *("-n", "-M", "prepared", "-f", str(script)),
                    *("-c", str(writers), "-j", str(min(writers, 2)), "-T", str(seconds), url),
                )
                match = re.search(r"tps = ([\d.]+)", printed)
                assert match is not None, printed
                found.setdefault((variant, writers), []).append(float(match[1]))
    await listener.close()
    await connection.close()
    return [
        {"disk": disk, "way": f"SQL, {variant}"}
        | {f"{writers} writers": results.median(found[variant, writers]) for writers in (1, 8, 32)}
        for variant in VARIANTS
    ]


async def by_copy(postgres: Postgres, jobs: int) -> list[Row]:
    """Return jobs a second of one COPY, with and without triggers."""
    url = await postgres.fresh("copy", tocsin=True)
    connection = await asyncpg.connect(url)
    moment = datetime.now(UTC) + timedelta(days=1)
    records = [("http", f'{{"url": "http://127.0.0.1:9/{n}"}}', *[moment] * 3) for n in range(jobs)]
    rows: list[Row] = []
    for way, prepare in (("COPY, no triggers", OFF), ("COPY, tomorrow", ON)):
        await connection.execute(prepare)
        await connection.execute("truncate tocsin.jobs")
        started = time.perf_counter()
        await connection.copy_records_to_table(
            "jobs",
            schema_name="tocsin",
            columns=["kind", "target", "run_at", "next_run", "scheduled_for"],
            records=records,
        )
        rows.append(
            {"disk": "real", "way": way, "1 writers": jobs / (time.perf_counter() - started)}
        )
    await connection.close()
    return rows


async def by_api(postgres: Postgres, jobs: int) -> list[Row]:
    """Return jobs a second through `POST /v1/jobs` and `POST /v1/jobs/batch`."""
    port = free_port()
    environment = {
        "TOCSIN_DATABASE_URL": await postgres.fresh("api", tocsin=True),
        "TOCSIN_PORT": str(port),
        "TOCSIN_ALLOW_PRIVATE_TARGETS": "true",
    }
    base = f"http://127.0.0.1:{port}"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    job = {"kind": "http", "target": {"url": "http://127.0.0.1:9/x"}, "run_at": tomorrow}
    command = [sys.executable, "-m", "app", "api"]
    log = processes.LOGS / "api.log"
    single: Row = {"disk": "real", "way": "API, one by one"}
    batch: Row = {"disk": "real", "way": "API, batches of 1,000"}
    with processes.running(command, environment=environment, log=log) as api:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await ready(session, base, api)
            for writers in (1, 8, 32):
                numbers = iter(range(jobs))
                per_second = await sending(session, f"{base}/v1/jobs", job, numbers, writers)
                single = {**single, f"{writers} writers": jobs * per_second}
                calls = max(jobs // 200, writers)
                per_second = await sending(
                    session,
                    f"{base}/v1/jobs/batch",
                    {"jobs": [job] * 1000},
                    iter(range(calls)),
                    writers,
                )
                batch = {**batch, f"{writers} writers": calls * per_second * 1000}
    return [single, batch]


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
        rows += await by_copy(postgres, jobs * 5)
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
    options.run(measure, about=__doc__, seconds=5, rounds=5, jobs=20_000)
