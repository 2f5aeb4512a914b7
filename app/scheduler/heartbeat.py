"""Calls a URL at intervals while jobs start on time, for a watch from outside."""

import asyncio
import random

import aiohttp

from app.core.facts import Faulted
from app.db import Database, levels
from app.telemetry import Observers
from app.telemetry.faults import faulted

TIMEOUT_SECONDS = 10.0
"""How long a call may take."""
REFUSED = 400
"""From this status on an answer counts as a failure."""


async def keep_beating(
    db: Database, observers: Observers, *, url: str, seconds: float, late_seconds: float
) -> None:
    """Call `url` every `seconds` while no job has waited for `late_seconds`, until cancelled.

    A job that waits to be planned counts as one that waits to start.

    The service at `url` notices by the silence that jobs are late, that the database does not
    answer, or that no instance runs. A call that fails is told, and not repeated before the next.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    await asyncio.sleep(seconds * random.random())  # noqa: S311 - spreads instances
    async with aiohttp.ClientSession(timeout=timeout) as client:
        while True:
            try:
                if await levels.read_lateness(db) < late_seconds:
                    await beat(client, observers, url)
            except Exception as error:  # noqa: BLE001 - jobs run without this
                observers.tell(faulted("heartbeat", error))
            await asyncio.sleep(seconds)


async def beat(client: aiohttp.ClientSession, observers: Observers, url: str) -> None:
    """Call the URL once, and tell a failure without the URL, which may be a secret."""
    try:
        async with client.get(url) as answer:
            problem = f"answered with status {answer.status}" if answer.status >= REFUSED else None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        problem = f"could not be called: {type(error).__name__}"
    if problem:
        observers.tell(Faulted(where="heartbeat", error=f"TOCSIN_HEARTBEAT_URL {problem}"))
