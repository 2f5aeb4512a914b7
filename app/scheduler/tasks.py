"""Tasks that run as long as an instance does, some of them in hourly passes."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from app.db.isolating import is_outage
from app.telemetry import Observers
from app.telemetry.faults import faulted

INTERVAL_SECONDS = 3600.0
"""The time between two passes of work that no job waits for."""
RETRY_SECONDS = 60.0
"""The first wait after a pass that failed."""
MAX_SECONDS = 300.0
"""The longest time between two rounds of work that notifications ask for: some may be lost."""
AGAIN_SECONDS = 5.0
"""The wait after an error before work that notifications ask for is tried again."""


@asynccontextmanager
async def background(**tasks: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run tasks, by name, beside the body and cancel them after it."""
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(run_endlessly(name, task), name=name) for name, task in tasks.items()
        ]
        try:
            yield
        finally:
            for one in running:
                one.cancel()


async def run_endlessly(name: str, task: Coroutine[None, None, None]) -> None:
    """Run a task, and fail when it returns: an instance without one of its tasks must end."""
    await task
    message = f"{name} ended although the instance is running"
    raise RuntimeError(message)


async def rest(seconds: float) -> None:
    """Sleep for 0.8 to 1.2 times `seconds`, so that instances that began together drift apart."""
    await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spread


async def wait_and_clear(told: asyncio.Event, *, seconds: float | None) -> None:
    """Wait until `told` is set, for at most `seconds` (None: however long), and clear the event.

    The caller looks after that at what the event tells of, so a change meanwhile is told again.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await told.wait()
    told.clear()


async def keep_up(
    work: Callable[[], Awaitable[None]],
    told: asyncio.Event,
    observers: Observers,
    *,
    where: str,
    wait: float,
) -> None:
    """Do work whenever `told` is set, and at least every `MAX_SECONDS`, until cancelled.

    `wait`: the longest wait for the first time, in seconds. `where` says in the log what an error
    kept from being done; an outage is told of by others.
    """
    while True:
        await wait_and_clear(told, seconds=wait)
        wait = MAX_SECONDS
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - jobs go on by what was done before
            wait = AGAIN_SECONDS
            if not is_outage(error):
                observers.tell(faulted(where, error))
