"""Tasks that run as long as an instance does."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


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
