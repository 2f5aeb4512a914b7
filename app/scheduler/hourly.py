"""How often an instance does the work that no job waits for."""

import asyncio
import random

INTERVAL_SECONDS = 3600.0
"""The time between two passes."""
RETRY_SECONDS = 60.0
"""The first wait after a failure."""


async def rest(seconds: float) -> None:
    """Sleep for 0.8 to 1.2 times `seconds`, so that instances that began together part."""
    await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spread
