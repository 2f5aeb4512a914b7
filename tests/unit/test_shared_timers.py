"""Timers that share one of the event loop for each second call when theirs is due."""

from functools import partial

import pytest

from app.timers import SharedTimers
from tests.support.ticks import ManualTimers, Ticks

BEGIN = 1_000.25


@pytest.fixture
def ticks() -> Ticks:
    ticks = Ticks()
    ticks.now = BEGIN
    return ticks


@pytest.fixture
def timers(ticks: Ticks) -> ManualTimers:
    return ManualTimers(ticks)


@pytest.fixture
def shared(timers: ManualTimers) -> SharedTimers:
    return SharedTimers(timers)


async def test_each_calls_at_its_instant(
    shared: SharedTimers, timers: ManualTimers, ticks: Ticks
) -> None:
    wanted = [1000.0, 1000.5, 1000.999, 1001.0, 1001.001, 1001.9, 1030.0, 1030.25]
    called: list[tuple[float, float]] = []

    def note(at: float) -> None:
        called.append((at, ticks.now))

    for at in reversed(wanted):
        shared.call_at(at, partial(note, at))

    await timers.advance(60.0)

    assert [at for at, _ in called] == wanted
    assert all(0 <= now - max(at, BEGIN) < 0.001 for at, now in called)
    assert not shared.seconds


async def test_those_of_one_second_cost_one_timer_and_nothing_if_cancelled_before(
    shared: SharedTimers, timers: ManualTimers
) -> None:
    called: list[int] = []
    given = [shared.call_at(1030.0 + n / 100, partial(called.append, n)) for n in range(100)]
    planned = len(timers.planned)
    for one in given[1:]:
        one.cancel()
    await timers.advance(60.0)

    assert planned == 1
    assert called == [0]


@pytest.mark.parametrize("after", [0.0, 0.4])
async def test_one_is_cancelled_after_its_second_has_begun(
    shared: SharedTimers, timers: ManualTimers, after: float
) -> None:
    called: list[str] = []
    one = shared.call_at(1002.5, lambda: called.append("cancelled"))
    shared.call_at(1002.5, lambda: called.append("left"))
    await timers.advance(1002.0 + after - BEGIN + 0.0001)

    one.cancel()
    await timers.advance(1.0)

    assert called == ["left"]


async def test_a_second_that_begins_late_calls_at_once_and_takes_no_more(
    shared: SharedTimers, timers: ManualTimers, ticks: Ticks
) -> None:
    """The event loop was held up, and something else ran before its timer."""
    called: list[str] = []
    shared.call_at(1001.5, lambda: called.append("first"))
    ticks.now = 1001.7
    shared.call_at(1001.9, lambda: called.append("second"))

    await timers.advance(0.01)
    early = list(called)
    await timers.advance(1.0)

    assert early == ["first"]
    assert called == ["first", "second"]


async def test_one_is_set_time_and_again(shared: SharedTimers, timers: ManualTimers) -> None:
    called: list[str] = []
    one = shared.call_at(1002.5, lambda: called.append("called"))
    one.cancel()
    one.set(1000.5)  # within the second that has begun
    one.cancel()
    one.set(1030.5)
    await timers.advance(20.0)
    early = list(called)
    await timers.advance(20.0)

    assert (early, called) == ([], ["called"])
    assert not shared.seconds
