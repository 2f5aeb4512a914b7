"""Contestants as processes: start, ask for their CPU time and memory, stop."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

import psutil

READY_SECONDS = 30.0
STOP_SECONDS = 5.0
ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / ".peers"
LOGS = Path(gettempdir()) / "tocsin-bench-logs"
"""The latest output of every contestant, for when one of them does not start."""


class Running:
    """One contestant's processes."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self.processes = processes

    def cpu_seconds(self) -> float:
        """CPU time of them and of their children so far."""
        total = 0.0
        for process in self.members():
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        return float(total)

    def rss_megabytes(self) -> float:
        """Resident memory, summed."""
        return float(sum(process.memory_info().rss for process in self.members())) / 1e6

    def members(self) -> list[psutil.Process]:
        """Every process of it that is alive."""
        parents = [psutil.Process(process.pid) for process in self.processes]
        return [*parents, *(child for one in parents for child in one.children(recursive=True))]

    def check(self) -> None:
        """Make sure that all are alive.

        Raises:
            RuntimeError: one of them has ended.
        """
        for process in self.processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}")


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    copies: int = 1,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    ready: str | None = None,
) -> Iterator[Running]:
    """Run `copies` of a command; with `ready`, wait until each has printed a line that has it."""
    processes: list[subprocess.Popen[str]] = []
    log = log or LOGS / "other.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as sink:
        try:
            for _ in range(copies):
                process = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE if ready else sink,
                    stderr=sink,
                    text=True,
                    cwd=ROOT,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
                processes.append(process)
            for process in processes if ready else ():
                wait_for_line(process, str(ready), log)
            yield Running(processes)
        finally:
            stop(processes)


def stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Ask all to stop, and after `STOP_SECONDS` end what is left, children included."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # each leads a session of its own
        process.wait()


def read_line(process: subprocess.Popen[str], *, seconds: float) -> str:
    """Return the next line of the process's output; only one line is ever under way.

    Raises:
        TimeoutError: it printed nothing in time.
    """
    if process.stdout is None:
        raise RuntimeError(f"{process.args!r} was started without a pipe")
    readable, _, _ = select.select([process.stdout], [], [], seconds)
    if not readable:
        raise TimeoutError(f"{process.args!r} said nothing for {seconds:g} s")
    return process.stdout.readline()


def wait_for_line(process: subprocess.Popen[str], wanted: str, log: Path) -> None:
    """Read the process's output until a line has `wanted` in it."""
    while line := read_line(process, seconds=READY_SECONDS):
        if wanted in line:
            return
    raise RuntimeError(f"{process.args!r} ended before it was ready; see {log}")


def tocsin(
    database_url: str,
    *,
    copies: int = 1,
    concurrency: int = 100,
    log: Path | None = None,
    under: Sequence[str] = (),
    **settings: str,
) -> AbstractContextManager[Running]:
    """Run instances of the product as it is shipped, `under` a program if one is given."""
    environment = {
        "TOCSIN_DATABASE_URL": database_url,
        "TOCSIN_ALLOW_PRIVATE_TARGETS": "true",
        "TOCSIN_CONCURRENCY": str(concurrency),
        **settings,
    }
    return running(
        [*under, sys.executable, "-m", "app", "scheduler"],
        copies=copies,
        environment=environment,
        log=log or LOGS / "tocsin.log",
    )
