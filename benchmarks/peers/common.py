"""What the Python peers share: the command line, the request that is a job, the job list."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime

import aiohttp
import uvloop

ACTION, URL, BASE_URL, CONCURRENCY = (*sys.argv[1:4], int(sys.argv[4]))


class Client:
    """Sends the requests; one session for all, opened in the loop that uses it."""

    session: aiohttp.ClientSession | None = None

    async def post(self, number: int) -> None:
        """Do what a job is: one POST, which must succeed."""
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        async with self.session.post(f"{BASE_URL}{number}") as response:
            response.raise_for_status()
            await response.read()


def jobs() -> list[tuple[int, datetime | None]]:
    """Read what to enqueue from the standard input."""
    parsed = [json.loads(line) for line in sys.stdin]
    return [
        (number, None if at is None else datetime.fromtimestamp(at, UTC)) for number, at in parsed
    ]


def ready() -> None:
    """Tell the benchmark that it can go on."""
    print("ready", flush=True)


async def inserting(insert: Callable[[int], Awaitable[object]]) -> None:
    """Enqueue each number that comes in and answer with the instant just before, in ns."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        started = time.time_ns()
        await insert(int(line))
        print(started, flush=True)


def run(**actions: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run the action that the command line names, on uvloop."""
    uvloop.run(actions[ACTION]())
