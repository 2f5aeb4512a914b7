"""How long a batch of 10,000 jobs takes through the API, by the sort of its jobs.

Each sort is sent some times, in turns with the others. Beside the seconds of the fastest one stands
the CPU time that it took the API's process; the rest is the database's.
"""

import argparse
import base64
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import psutil

from benchmarks import bare
from benchmarks.enqueue import execute, ready
from benchmarks.support import options, processes, results
from benchmarks.support.postgres import Postgres, free_port
from benchmarks.support.results import Row

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
TARGET = {"url": "https://example.com/report", "headers": {"X-Tenant": "a"}, "json": {"a": [1, 2]}}
SECRET = TARGET | {"auth": {"type": "bearer", "token": "a-token"}}
AMQP = {"url": "amqp://broker/", "exchange": "e", "routing_key": "k", "json": {"a": [1, 2]}}
ONE_OFF = {"kind": "http", "target": TARGET, "run_at": TOMORROW}
CRON = {"kind": "http", "target": TARGET, "timezone": "Europe/Paris"}
SORTS: dict[str, Callable[[int], dict[str, object]]] = {
    "one-offs": lambda _: ONE_OFF,
    "one-offs with names": lambda n: ONE_OFF | {"name": f"job {n}"},
    "AMQP": lambda _: ONE_OFF | {"kind": "amqp", "target": AMQP},
    "a secret each, encrypted": lambda _: ONE_OFF | {"target": SECRET},
    "intervals": lambda _: {"kind": "http", "target": TARGET, "every_seconds": 90},
    "the same cron": lambda _: CRON | {"cron": "*/5 3 * * *"},
    "crons that differ": lambda n: CRON | {"cron": f"{n % 60} {n // 60 % 24} {n // 1440 + 1} * *"},
    "crons with H": lambda _: CRON | {"cron": "H H * * *"},
}


async def measure(options_: argparse.Namespace) -> None:
    """Send each sort in turns."""
    jobs, rounds = (500, 1) if options_.quick else (int(options_.jobs), int(options_.rounds))
    best: dict[str, tuple[float, float]] = {}
    with Postgres.running(programs=options_.postgres) as postgres:
        url, port = await postgres.fresh("batches", tocsin=True), free_port()
        environment = {
            "TOCSIN_DATABASE_URL": url,
            "TOCSIN_PORT": str(port),
            "TOCSIN_SECRET_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        base = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "app", "api"]
        log = processes.LOGS / "api.log"
        with processes.running(command, environment=environment, log=log) as api:
            timeout = aiohttp.ClientTimeout(total=120)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                await ready(session, base, api)
                for _ in range(rounds):
                    for sort, job in SORTS.items():
                        await execute(url, "truncate tocsin.jobs")
                        body = msgspec.json.encode({"jobs": [job(n) for n in range(jobs)]})
                        taken = await send(session, f"{base}/v1/jobs/batch", body)
                        best[sort] = min(taken, best.get(sort, taken))
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    rows: list[Row] = [
        {"jobs": sort, "seconds": seconds, "of which CPU of the API": cpu}
        for sort, (seconds, cpu) in best.items()
    ]
    results.write(
        "batches",
        title=f"A batch of {jobs:,} jobs",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=on,
        quick=options_.quick,
    )


async def send(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[float, float]:
    """Send one batch; return the seconds it took, and those of CPU of the API."""
    started, before = time.perf_counter(), cpu_of_api()
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        text = await answer.text()
        if answer.status >= 300:
            raise RuntimeError(f"{url} answered {answer.status}: {text[:500]}")
    return time.perf_counter() - started, cpu_of_api() - before


def cpu_of_api() -> float:
    """Return the CPU time, in seconds, of the API that this process started."""
    total = 0.0
    for child in psutil.Process().children():
        if "api" in child.cmdline():
            total += child.cpu_times().user + child.cpu_times().system
    return total


if __name__ == "__main__":
    options.run(measure, about=__doc__, rounds=3, jobs=10_000)
