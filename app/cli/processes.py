"""Several instances on one machine: a parent process keeps a child process for each running.

Each child has a pipe from the parent as its stdin. When the parent ends, for whatever reason, the
pipe ends and the children drain: no child outlives its parent by more than the grace.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from app.cli.running import on_stop_signal
from app.config import PREFIX, Settings
from app.core.facts import ProcessEnded
from app.errors import AppError
from app.telemetry import Observers

STARTING_SECONDS = 30.0
"""If a child exits with an error this soon after the parent's start, the parent reports that and
ends: most likely a setting is wrong, and restarting would not help. On a busy machine a child takes
ten seconds to import its modules."""
MIN_WAIT_SECONDS = 0.5
"""The first wait before a child is restarted; each further wait is twice as long."""
MAX_WAIT_SECONDS = 30.0
"""The longest wait; after a child that ran longer, the wait begins at `MIN_WAIT_SECONDS` again."""
DRAINED = (0, -signal.SIGTERM)
"""Exit codes of a child that was told to stop; SIGTERM ends a child that had yet to start."""


class InstancesFailed(AppError):
    """Some instances ended with an error; the message has their exit codes."""


class Processes:
    """Keeps a number of instances running until told to stop, then until all have drained."""

    def __init__(self, settings: Settings, observers: Observers) -> None:
        # -P: import no other `app` from the working directory.
        self.command = [sys.executable, "-P", "-m", "app", "scheduler", "--supervised"]
        self.command += ["--concurrency", str(settings.concurrency)]
        self.ports = {
            f"{PREFIX}{name}": port
            for name, port in (
                ("METRICS_PORT", settings.metrics_port),
                ("HEALTH_PORT", settings.health_port),
            )
            if port
        }
        """The ports of the first child, by their variables."""
        self.observers = observers
        self.children: set[asyncio.subprocess.Process] = set()
        self.stopping = asyncio.Event()
        self.failures: list[int] = []
        self.begun_at = 0.0

    def __repr__(self) -> str:
        state = "stopping" if self.stopping.is_set() else "running"
        pids = ", ".join(str(child.pid) for child in self.children)
        return f"Processes({state}, children {pids or 'none'}, failures {self.failures})"

    async def run(self, count: int) -> None:
        """Keep `count` instances running until SIGTERM or SIGINT, then stop them all.

        Raises:
            InstancesFailed: an instance could not start, or did not drain.
        """
        on_stop_signal(self.stop)
        self.begun_at = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self.keep(number), name=f"instance {number}")
        if self.failures:
            codes = ", ".join(map(str, self.failures))
            raise InstancesFailed(f"{len(self.failures)} of {count} instances ended with {codes}")

    def stop(self) -> None:
        """Have all instances drain; at the second call, have them cancel their executions."""
        self.stopping.set()
        for child in self.children:
            tell_to_stop(child)

    async def keep(self, number: int) -> None:
        """Run an instance, and restart it whenever it ends, until told to stop.

        `number`, from 0, is added to the ports of the instance.
        """
        clock = asyncio.get_running_loop()
        wait = MIN_WAIT_SECONDS
        while not self.stopping.is_set():
            started_at = clock.time()
            child, code = await self.run_child(number)
            if self.stopping.is_set():
                if code not in DRAINED:
                    self.failures.append(code)
                return
            if code > 0 and clock.time() - self.begun_at < STARTING_SECONDS:
                self.failures.append(code)
                self.stop()
                return
            lived_long = clock.time() - started_at > MAX_WAIT_SECONDS
            wait = MIN_WAIT_SECONDS if lived_long else min(wait * 2, MAX_WAIT_SECONDS)
            self.observers.tell(ProcessEnded(pid=child.pid, code=code, restart_seconds=wait))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.stopping.wait()

    async def run_child(self, number: int) -> tuple[asyncio.subprocess.Process, int]:
        """Run an instance to its end; return the process and its exit code, or minus its signal."""
        child = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, **{name: str(port + number) for name, port in self.ports.items()}},
            # A Ctrl-C in the terminal reaches only the parent, which stops the children: if it
            # reached them as well, they would be stopped twice.
            process_group=0,
        )
        self.children.add(child)
        if self.stopping.is_set():  # told to stop while the child was starting
            tell_to_stop(child)
        try:
            return child, await child.wait()
        finally:
            self.children.discard(child)


def tell_to_stop(child: asyncio.subprocess.Process) -> None:
    """Send SIGTERM to a child, unless it has ended."""
    with suppress(ProcessLookupError):
        child.terminate()
