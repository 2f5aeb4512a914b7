"""What several callers want at the same time is fetched once."""

import asyncio

import pytest

from app.errors import AppError
from app.single_flight import SingleFlight


class Source:
    """Something that is fetched when a test says so."""

    def __init__(self) -> None:
        self.fetches = 0
        self.is_there = False
        self.error: Exception | None = None
        self.begun = asyncio.Event()
        self.answered = asyncio.Event()

    async def fetch(self) -> None:
        self.fetches += 1
        self.begun.set()
        await self.answered.wait()
        if self.error is not None:
            raise self.error
        self.is_there = True


async def asking(flights: SingleFlight, source: Source, *, key: str = "a") -> None:
    await flights.run(key, lambda: source.is_there, source.fetch)


async def test_many_callers_get_the_result_of_one_fetch() -> None:
    flights, source = SingleFlight(), Source()

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(asking(flights, source))
        await source.begun.wait()
        source.answered.set()

    assert source.fetches == 1
    assert len(flights) == 0


async def test_an_error_is_that_of_all_who_waited_and_of_nobody_who_comes_later() -> None:
    flights, source = SingleFlight(), Source()
    source.error = AppError("gone")

    callers = [asyncio.create_task(asking(flights, source)) for _ in range(5)]
    await source.begun.wait()
    source.answered.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert results == [source.error] * 5
    assert source.fetches == 1
    source.error = None
    await asking(flights, source)
    assert source.fetches == 2


async def test_where_the_caller_that_fetches_is_cancelled_another_one_fetches() -> None:
    flights, source = SingleFlight(), Source()

    first = asyncio.create_task(asking(flights, source))
    await source.begun.wait()
    second = asyncio.create_task(asking(flights, source))
    first.cancel()
    source.answered.set()
    await second

    with pytest.raises(asyncio.CancelledError):
        await first
    assert source.fetches == 2
    assert len(flights) == 0


async def test_one_key_does_not_wait_for_another() -> None:
    flights, slow, quick = SingleFlight(), Source(), Source()
    quick.answered.set()

    waiting = asyncio.create_task(asking(flights, slow, key="slow"))
    await slow.begun.wait()
    await asking(flights, quick, key="quick")

    assert not waiting.done()
    slow.answered.set()
    await waiting
