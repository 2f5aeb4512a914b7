"""Waits for a state that no fact or notification tells of, by asking again, within bounds."""

import asyncio
from collections.abc import Awaitable, Callable

ASK_SECONDS = 0.05


async def until(
    question: Callable[[], Awaitable[object]], what: str, *, within: float = 15.0
) -> None:
    """Ask until the answer is true.

    Raises:
        AssertionError: the answer was not true in time; `what` names the condition.
    """
    answer = None
    try:
        async with asyncio.timeout(within):
            while not (answer := await question()):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(ASK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what} (last answer: {answer})") from None
