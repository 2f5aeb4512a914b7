"""Tasks that run as long as an instance does, some of them in hourly passes."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

INTERVAL_SECONDS = 3600.0
"""The time between two passes of work that no job waits for."""
RETRY_SECONDS = 60.0
"""The first wait after a pass that failed."""


@asynccontextmanager
async def background(**tasks: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run tasks, by name, beside the body and cancel them after it."""
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(endless(name, task), name=name) for name, task in tasks.items()
        ]
        try:
            yield
        finally:
            for one in running:
                one.cancel()


async def endless(name: str, task: Coroutine[None, None, None]) -> None:
    """Run a task, and fail when it returns: an instance without one of its tasks must end."""
    await task
    message = f"{name} ended although the instance is running"
    raise RuntimeError(message)


async def rest(seconds: float) -> None:
    """Sleep for 0.8 to 1.2 times `seconds`, so that instances that began together drift apart."""
    await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spread
