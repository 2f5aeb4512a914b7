"""How often an instance does what no job waits for."""

import asyncio
import random

INTERVAL_SECONDS = 3600.0
RETRY_SECONDS = 60.0
"""The wait after a failure, at first."""


async def rest(seconds: float) -> None:
    """Sleep for about so many seconds, so that instances that began together part."""
    await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spread
