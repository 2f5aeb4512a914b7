"""How many seconds a batch of 10,000 jobs takes through the API, by the sort of its jobs.

*Created* is a plain batch. The others have `replace=true`, and a name for each job: all are new,
all are there and get another description, all are there and get another target and schedule, or
all are there as they are sent. Each is sent some times, in turns with the others, and the fastest
counts. In brackets stands the CPU time that it took the API's process; the rest is the database's.
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

AFTER = (datetime.now(UTC) + timedelta(days=2)).isoformat()
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
TARGET = {"url": "https://example.com/report", "headers": {"X-Tenant": "a"}, "json": {"a": [1, 2]}}
SECRET = TARGET | {"auth": {"type": "bearer", "token": "a-token"}}
AMQP = {"url": "amqp://broker/", "exchange": "e", "routing_key": "k", "json": {"a": [1, 2]}}
ONE_OFF: dict[str, object] = {"kind": "http", "target": TARGET, "run_at": TOMORROW}
CRON: dict[str, object] = {"kind": "http", "target": TARGET, "timezone": "Europe/Paris"}
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


def named(sort: str, jobs: int, **more: object) -> bytes:
    """Make a batch of one sort, with names."""
    make = SORTS[sort]
    batch = [make(n) | {"name": f"job {n}"} | more for n in range(jobs)]
    return msgspec.json.encode({"jobs": batch})


def moved(sort: str, jobs: int) -> bytes:
    """Make a batch of one sort, with names, other targets and other schedules."""
    ending = {"ends_at": "2090-01-01T00:00:00Z"}
    made = msgspec.json.decode(named(sort, jobs))
    for job in made["jobs"]:
        job["target"] |= {"json": {"a": [3]}}
        job.update({"run_at": AFTER} if "run_at" in job else ending)
    return msgspec.json.encode(made)


WAYS: dict[str, tuple[str, Callable[[str, int], bytes]]] = {
    "created": (
        "",
        lambda sort, jobs: msgspec.json.encode({"jobs": [SORTS[sort](n) for n in range(jobs)]}),
    ),
    "new": ("?replace=true", named),
    "edited": ("?replace=true", lambda sort, jobs: named(sort, jobs, description="another")),
    "moved": ("?replace=true", moved),
    "unchanged": ("?replace=true", moved),
}
"""How a batch is sent, each after the one before: the query, and what makes the body."""
EMPTIED = ("created", "new")
"""The ways before which there is no job."""


async def measure(options_: argparse.Namespace) -> None:
    """Send each sort in turns."""
    jobs, rounds = (500, 1) if options_.quick else (int(options_.jobs), int(options_.rounds))
    best: dict[tuple[str, str], tuple[float, float]] = {}
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
                    for sort in SORTS:
                        for way, (query, make) in WAYS.items():
                            if way in EMPTIED:
                                await execute(url, "truncate tocsin.jobs")
                            address = f"{base}/v1/jobs/batch{query}"
                            taken = await send(session, address, make(sort, jobs))
                            best[sort, way] = min(taken, best.get((sort, way), taken))
        on = results.machine(await bare.server_version(postgres.url("postgres")))
    rows: list[Row] = [
        {"jobs": sort} | {way: "{:.2f} ({:.2f})".format(*best[sort, way]) for way in WAYS}
        for sort in SORTS
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
