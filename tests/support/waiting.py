"""Waits for a state that no fact or notification tells of, by asking again, within bounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

ASK_SECONDS = 0.05
TURN_SECONDS = 0.25
"""How often patience is counted."""
PROMISE_SECONDS = 5.0
"""Waits that are shorter promise that something is quick, and are never made longer."""
CROWDED = 0.25
"""How much of the time counts in which something on this machine waits for a processor."""
PRESSURE = Path("/proc/pressure/cpu")


def stalled_seconds() -> float:
    """Return for how long something has waited for a processor; 0 where the system does not say."""
    try:
        text = PRESSURE.read_text("ascii")
    except OSError:
        return 0.0
    return int(text.partition("total=")[2].split()[0]) / 1e6


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Give up after so many seconds, of a machine that has time for the test.

    One that is busy takes longer for the same, up to four times; and while this process was
    stopped, it saw nothing of what it waits for.

    Raises:
        TimeoutError: the block has not ended in time.
    """
    if seconds < PROMISE_SECONDS:
        async with asyncio.timeout(seconds):
            yield
        return
    async with asyncio.timeout(None) as limit:
        loop = asyncio.get_running_loop()
        left, at, stalled = seconds, time.monotonic(), stalled_seconds()
        timer: asyncio.TimerHandle

        def turn() -> None:
            nonlocal left, at, stalled, timer
            now, waited = time.monotonic(), stalled_seconds()
            passed = min(now - at, 2 * TURN_SECONDS)
            left -= max(passed - (waited - stalled), CROWDED * passed)
            at, stalled = now, waited
            if left <= 0:
                limit.reschedule(loop.time())
            else:
                timer = loop.call_later(TURN_SECONDS, turn)

        timer = loop.call_later(TURN_SECONDS, turn)
        try:
            yield
        finally:
            timer.cancel()


async def until(
    question: Callable[[], Awaitable[object]], what: str, *, within: float = 15.0
) -> None:
    """Ask until the answer is true.

    Raises:
        AssertionError: the answer was not true in time; `what` names the condition.
    """
    answer = None
    try:
        async with patience(within):
            while not (answer := await question()):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(ASK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what} (last answer: {answer})") from None
