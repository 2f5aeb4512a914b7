"""How many instructions an instance and Postgres spend on a job, counted by callgrind.

CPU time depends on what else the machine does, counted instructions repeat to about 3 % anywhere,
those of Postgres to 1 %. What the kernel does is not counted. An instance under callgrind is some
50 times slower, so that its batches are not quite those of `drain`; Postgres claims and settles
batches of 200. The first jobs warm them up, and are not counted.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

import uvloop

from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import settled as ended
from app.db import Database, claims
from app.db.listener import Session, open_session
from app.targets.registry import KINDS
from benchmarks import bare
from benchmarks.drain import settled, vacuumed
from benchmarks.support import options, processes, results
from benchmarks.support.contestants import Job, Tocsin
from benchmarks.support.postgres import SETTINGS, Postgres, RunAs, as_postgres
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import Row

CALLGRIND = ("valgrind", "--tool=callgrind")
BATCH = 200
WARM_UP = 600
WARM_UP_BATCHES = 6
"""From the sixth execution on Postgres may use a plan for all values."""
SECONDS = 600.0
"""The longest wait for the jobs of either part."""


async def measure(options_: argparse.Namespace) -> None:
    """Count the instructions of one instance, as it drains a backlog, and those of Postgres."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind was not found: install it, as with `apt-get install valgrind`")
    jobs = 500 if options_.quick else int(options_.jobs)
    with Postgres.running(programs=options_.postgres) as postgres:
        version = await bare.server_version(postgres.url("postgres"))
        instance = await count_instance(postgres, jobs=jobs)
        look, settlement = await count_statements(postgres, batches=jobs // BATCH)
    each = {"instance": instance, "Postgres, look": look, "Postgres, settlement": settlement}
    rows: list[Row] = [{"of": of, "jobs": jobs, "each": count} for of, count in each.items()]
    results.write(
        "instructions",
        title="Instructions for each job",
        notes=(__doc__ or "").strip(),
        rows=rows,
        on=results.machine(version),
        quick=options_.quick,
    )


async def count_instance(postgres: Postgres, *, jobs: int) -> int:
    """Return how many instructions an instance spends on each of so many due jobs."""
    with TemporaryDirectory() as home, Receiver.running() as receiver:
        contestant = Tocsin()
        await contestant.prepare(postgres, receiver.base_url)
        await contestant.enqueue([Job(number) for number in range(WARM_UP)])
        await vacuumed(contestant.url)
        callgrind = (*CALLGRIND, f"--callgrind-out-file={home}/counts")
        with contestant.working(under=callgrind) as workers:
            [process] = workers.processes
            await drained(contestant, receiver, workers, jobs=WARM_UP)
            await asyncio.sleep(1)  # whatever else an instance does at first
            await told(process.pid, "--zero")
            receiver.reset()
            await contestant.enqueue([Job(number) for number in range(jobs)])
            await drained(contestant, receiver, workers, jobs=jobs)
            await told(process.pid, "--dump")
            return counted(Path(home).iterdir()) // jobs


async def count_statements(postgres: Postgres, *, batches: int) -> tuple[int, int]:
    """Return how many instructions Postgres spends on the look and on the settlement of a job."""
    contestant = Tocsin()
    await contestant.prepare(postgres, "http://a.example/")
    jobs = (WARM_UP_BATCHES + batches) * BATCH
    await contestant.enqueue([Job(number) for number in range(jobs)])
    await vacuumed(contestant.url)
    postgres.stop()
    counts = postgres.data / "counts"
    postgres.serve(
        SETTINGS | {"autovacuum": "off"},
        # Only of children that it traces callgrind_control can tell anything.
        under=(*CALLGRIND, "--trace-children=yes", f"--callgrind-out-file={counts}.%p"),
    )
    session = open_session(contestant.url, wake=lambda: None, application_name="benchmark")
    pool = Database.connect(contestant.url, application_name="benchmark", max_connections=1)
    async with session as looking, pool as db:
        for _ in range(WARM_UP_BATCHES):
            await settle(db, await claimed(looking))
        looks = looking.connection.get_server_pid()
        async with db.session() as connection:
            settles = connection.get_server_pid()
        for pid in (looks, settles):
            await told(pid, "--zero", **as_postgres())
        for _ in range(batches):
            await settle(db, await claimed(looking))
        for pid in (looks, settles):
            await told(pid, "--dump", **as_postgres())
    look, settlement = (
        counted(postgres.data.glob(f"{counts.name}.{pid}.*")) // (batches * BATCH)
        for pid in (looks, settles)
    )
    return look, settlement


async def claimed(session: Session) -> list[Claim]:
    """Claim a batch of due jobs, as an instance does."""
    look = await claims.look(
        session,
        limit=BATCH,
        ahead_seconds=0.25,
        lease_seconds=60.0,
        kinds=KINDS,
        instance="bench:1:0000",
    )
    return look.claims


async def settle(db: Database, held: Sequence[Claim]) -> None:
    """Settle a batch, each after one execution that succeeded."""
    now = datetime.now(UTC)
    report = Report(outcome=Outcome.SUCCEEDED, status_code=200)
    settlements = [
        ended(one, report, started_at=now, finished_at=now, instance="bench:1:0000", jitter=0.5)
        for one in held
    ]
    await claims.settle(db, settlements)


async def drained(
    contestant: Tocsin, receiver: Receiver, workers: processes.Running, *, jobs: int
) -> None:
    """Wait until all jobs were carried out and recorded."""
    await receiver.wait_for(jobs, seconds=SECONDS, check=workers.check)
    await settled(contestant)


async def told(pid: int, what: str, **user: Unpack[RunAs]) -> None:
    """Tell callgrind, as its user, to set the counts of a process to zero, or to write them."""
    command = ("callgrind_control", what, str(pid))
    run = partial(subprocess.run, command, check=True, capture_output=True, **user)
    await asyncio.to_thread(run)


def counted(written: Iterable[Path]) -> int:
    """Return the largest total in files that callgrind has written."""
    totals = [
        int(line.split()[1])
        for path in written
        for line in path.read_text("utf-8", errors="replace").splitlines()
        if line.startswith("totals:")
    ]
    return max(totals)


if __name__ == "__main__":
    uvloop.install()
    options.run(measure, about=__doc__, jobs=2_000)
