"""Several instances on one machine, each in a process of its own that a parent keeps running.

Each child has a pipe from the parent as its stdin. Whatever ends the parent ends the pipe, and the
child drains: none outlives its parent by more than the grace.
"""

import asyncio
import signal
import sys
from contextlib import suppress

from app.cli.running import on_stop_signal
from app.config import Settings
from app.core.facts import ProcessEnded
from app.errors import AppError
from app.telemetry import Observers

STARTING_SECONDS = 30.0
"""An exit with an error within so many seconds of the start of all is a mistake to tell of, not to
repeat; a busy machine takes ten to import what an instance needs."""
MIN_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 30.0
DRAINED = (0, -signal.SIGTERM)
"""How a child that was told to stop ends; by the signal itself where it had yet to begin."""


class InstancesFailed(AppError):
    """Some instances did not end as they should; the message has their exit codes."""


class Processes:
    """Keeps a number of instances running until told to stop, then until all have drained."""

    def __init__(self, settings: Settings, observers: Observers) -> None:
        # -P: no `app` that happens to be in the working directory.
        self.command = [sys.executable, "-P", "-m", "app", "scheduler", "--supervised"]
        self.command += ["--concurrency", str(settings.concurrency)]
        self.observers = observers
        self.children: set[asyncio.subprocess.Process] = set()
        self.stopping = asyncio.Event()
        self.failures: list[int] = []
        self.begun_at = 0.0

    async def run(self, count: int) -> None:
        """Keep `count` instances running until SIGTERM or SIGINT, which all of them get.

        Raises:
            InstancesFailed: one could not be started, or did not drain.
        """
        on_stop_signal(self.stop)
        self.begun_at = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self.keep(), name=f"instance {number}")
        if self.failures:
            codes = ", ".join(map(str, self.failures))
            raise InstancesFailed(f"{len(self.failures)} of {count} instances ended with {codes}")

    def stop(self) -> None:
        """Have all drain; asked again, have them cut their executions off."""
        self.stopping.set()
        for child in self.children:
            tell_to_stop(child)

    async def keep(self) -> None:
        """Run one instance, and another in its place whenever it ends, until told to stop."""
        clock = asyncio.get_running_loop()
        wait = MIN_WAIT_SECONDS
        while not self.stopping.is_set():
            started_at = clock.time()
            child, code = await self.run_child()
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

    async def run_child(self) -> tuple[asyncio.subprocess.Process, int]:
        """Run an instance to its end; return its exit code, or minus the signal that killed it."""
        child = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            # The terminal's Ctrl-C is for the parent: passed on as well it would count twice.
            process_group=0,
        )
        self.children.add(child)
        if self.stopping.is_set():  # while it was being started
            tell_to_stop(child)
        try:
            return child, await child.wait()
        finally:
            self.children.discard(child)


def tell_to_stop(child: asyncio.subprocess.Process) -> None:
    """Send SIGTERM, if it is still there to receive it."""
    with suppress(ProcessLookupError):
        child.terminate()
