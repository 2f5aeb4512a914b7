"""How many instructions an instance spends on a job, counted by callgrind.

CPU time depends on what else the machine does, counted instructions repeat to about 3 % anywhere.
What the kernel does is not counted. An instance under callgrind is some 50 times slower, so that
its batches are not quite those of `drain`. The first jobs warm it up, and are not counted.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import bare
from benchmarks.drain import settled, vacuumed
from benchmarks.support import options, processes, results
from benchmarks.support.contestants import Job, Tocsin
from benchmarks.support.postgres import Postgres
from benchmarks.support.receiver import Receiver

WARM_UP = 600
SECONDS = 600.0
"""The longest wait for the jobs of either part."""


async def measure(options_: argparse.Namespace) -> None:
    """Count the instructions of one instance, as it drains a backlog."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind was not found: install it, as with `apt-get install valgrind`")
    jobs = 500 if options_.quick else int(options_.jobs)
    with (
        TemporaryDirectory() as home,
        Receiver.running() as receiver,
        Postgres.running(programs=options_.postgres) as postgres,
    ):
        contestant = Tocsin()
        await contestant.prepare(postgres, receiver.base_url)
        await contestant.enqueue([Job(number) for number in range(WARM_UP)])
        await vacuumed(contestant.url)
        counts = Path(home) / "counts"
        callgrind = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}")
        with contestant.working(under=callgrind) as workers:
            await drained(contestant, receiver, workers, jobs=WARM_UP)
            await asyncio.sleep(1)  # whatever else an instance does at first
            await told(workers, "--zero")
            receiver.reset()
            await contestant.enqueue([Job(number) for number in range(jobs)])
            await drained(contestant, receiver, workers, jobs=jobs)
            await told(workers, "--dump")
            instructions = counted(Path(home))
        results.write(
            "instructions",
            title="Instructions for each job",
            notes=(__doc__ or "").strip(),
            rows=[{"contestant": contestant.name, "jobs": jobs, "each": instructions // jobs}],
            on=results.machine(await bare.server_version(postgres.url("postgres"))),
            quick=options_.quick,
        )


async def drained(
    contestant: Tocsin, receiver: Receiver, workers: processes.Running, *, jobs: int
) -> None:
    """Wait until all jobs were carried out and recorded."""
    await receiver.wait_for(jobs, seconds=SECONDS, check=workers.check)
    await settled(contestant)


async def told(workers: processes.Running, what: str) -> None:
    """Tell callgrind to set its counts to zero, or to write them."""
    [process] = workers.processes
    command = ("callgrind_control", what, str(process.pid))
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)


def counted(home: Path) -> int:
    """Return the largest total in the files that callgrind has written."""
    totals = [
        int(line.split()[1])
        for path in home.iterdir()
        for line in path.read_text("utf-8", errors="replace").splitlines()
        if line.startswith("totals:")
    ]
    return max(totals)


if __name__ == "__main__":
    bare.uvloop.install()
    options.run(measure, about=__doc__, jobs=2_000)
