"""The bell remembers the earliest ring that it was asked for."""

import asyncio

import pytest
import uvloop

from app.scheduler.doorbell import Doorbell


async def test_a_ring_while_nobody_waits_is_heard_later() -> None:
    bell = Doorbell(asyncio.get_running_loop())
    bell.ring()

    assert await bell.wait(5.0)


async def test_silence_forgets_the_rings_so_far() -> None:
    bell = Doorbell(asyncio.get_running_loop())
    bell.ring()
    bell.ring_in(0.0)
    bell.silence()

    assert not await bell.wait(0.02)


@pytest.mark.parametrize("seconds", [(0.0, 30.0), (30.0, 0.0), (0.01, 30.0), (30.0, 0.01)])
def test_of_two_rings_the_earlier_is_kept(seconds: tuple[float, float]) -> None:
    """On uvloop, whose timer for the very next turn cannot say when it is due."""

    async def ring_twice() -> bool:
        bell = Doorbell(asyncio.get_running_loop())
        for one in seconds:
            bell.ring_in(one)
        return await bell.wait(5.0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ring_twice())


async def test_a_ring_can_be_asked_for_after_one_has_rung() -> None:
    bell = Doorbell(asyncio.get_running_loop())
    bell.ring_in(0.0)
    await asyncio.sleep(0.01)
    bell.rung.clear()

    bell.ring_in(0.01)

    assert await bell.wait(5.0)
