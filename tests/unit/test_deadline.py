"""The deadline of the hot path does what asyncio's own does."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from app.deadline import Deadline
from app.timers import SharedTimers

Until = Callable[[float | None], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def ours(at: float | None) -> AsyncIterator[Deadline]:
    with Deadline(asyncio.get_running_loop(), at) as deadline:
        yield deadline


@asynccontextmanager
async def shared(at: float | None) -> AsyncIterator[Deadline]:
    loop = asyncio.get_running_loop()
    with Deadline(loop, at, timers=SharedTimers(loop)) as deadline:
        yield deadline


@pytest.fixture(params=[ours, shared, asyncio.timeout_at], ids=["ours", "shared", "asyncio"])
def until(request: pytest.FixtureRequest) -> Until:
    """Give the class under test, and the one whose behaviour it must have."""
    given: Until = request.param
    return given


def soon(seconds: float = 0.02) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_it_passes(until: Until) -> None:
    with pytest.raises(TimeoutError):
        async with until(soon()):
            await asyncio.sleep(10)

    await asyncio.sleep(0)  # no cancellation is left over
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_one_in_the_past_passes_at_the_first_wait(until: Until) -> None:
    with pytest.raises(TimeoutError):
        async with until(soon(-1)):
            await asyncio.sleep(10)


async def test_what_ends_before_is_left_alone(until: Until) -> None:
    async with until(soon(0.2)):
        await asyncio.sleep(0)

    await asyncio.sleep(0.25)


async def test_an_error_of_the_body_stays_what_it_is(until: Until) -> None:
    async def body() -> None:
        async with until(soon()):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise KeyError from None

    with pytest.raises(KeyError):
        await body()

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_cancellation_from_outside_is_no_timeout(until: Until) -> None:
    async def body() -> None:
        async with until(soon(10)):
            await asyncio.sleep(10)

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_moment_wins(until: Until) -> None:
    async def body() -> None:
        async with until(soon(10)) as deadline:
            loop = asyncio.get_running_loop()
            move = deadline.move if isinstance(deadline, Deadline) else deadline.reschedule  # type: ignore[attr-defined]
            loop.call_soon(move, loop.time() - 1)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                loop.call_soon(task.cancel)
                await asyncio.sleep(10)

    task = asyncio.create_task(body())

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_outer_of_two_passes_through_the_inner(until: Until) -> None:
    async def body() -> None:
        async with until(soon()):
            try:
                async with until(soon(10)):
                    await asyncio.sleep(10)
            except TimeoutError:
                pytest.fail("the inner one has not passed")

    with pytest.raises(TimeoutError):
        await body()


async def test_both_of_two_at_once(until: Until) -> None:
    at = soon()
    with pytest.raises(TimeoutError):
        async with until(at), until(at):
            await asyncio.sleep(10)

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_it_can_be_moved() -> None:
    loop = asyncio.get_running_loop()
    with Deadline(loop) as deadline:
        deadline.move(soon())
        deadline.move(None)
        await asyncio.sleep(0.04)
    deadline = Deadline(loop, soon(10))
    loop.call_soon(deadline.move, soon())
    with pytest.raises(TimeoutError), deadline:
        await asyncio.sleep(10)


def test_it_needs_a_task() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="task"), Deadline(loop):
            pass
    finally:
        loop.close()


async def test_one_that_is_over_is_freed_without_the_garbage_collector() -> None:
    """As garbage, thousands of these a second would have it stop everything for milliseconds."""
    loop = asyncio.get_running_loop()
    with Deadline(loop, soon(10), timers=SharedTimers(loop)) as deadline:
        left = weakref.ref(deadline)

    del deadline

    assert left() is None
