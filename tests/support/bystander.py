"""Something else in the same event loop, which notes how long others hold it up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_SECONDS = 0.01


class Bystander:
    """Ticks, and notes the longest that it was held up, seconds."""

    longest = 0.0

    async def tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.longest = max(self.longest, loop.time() - due)


@asynccontextmanager
async def bystander() -> AsyncIterator[Bystander]:
    one = Bystander()
    ticking = asyncio.create_task(one.tick())
    try:
        yield one
    finally:
        ticking.cancel()
