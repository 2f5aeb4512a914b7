"""Runs one instance, alone or as one of several children of a parent process."""

import asyncio
import os
import sys

from structlog.contextvars import bind_contextvars

from app.cli.monitoring import monitored
from app.cli.running import on_stop_signal
from app.config import Settings
from app.scheduler.instance import Instance


async def instance(settings: Settings, *, supervised: bool) -> None:
    """Run one instance until SIGTERM or SIGINT; a second signal cancels its executions.

    With `supervised`, stdin is a pipe from the parent process, and its end also stops the instance.
    """
    async with monitored(settings) as one:
        bind_contextvars(instance=one.name)
        on_stop_signal(one.stop_or_hurry)
        if supervised:
            stop_without_parent(one)
        await one.run()


def stop_without_parent(one: Instance) -> None:
    """Have an instance drain when the parent process has ended, for whatever reason."""
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def readable() -> None:
        if os.read(stdin, 1):
            return
        loop.remove_reader(stdin)
        one.stop()

    loop.add_reader(stdin, readable)
