"""How long the tests wait: as long as a machine needs that has time for them."""

import asyncio

import pytest

from tests.support import waiting
from tests.support.ticks import Ticks
from tests.support.waiting import PROMISE_SECONDS, patience, until

TURN = 0.001
SECONDS = 20 * TURN


class Machine:
    """A clock that moves on with each turn, and what has waited for a processor by then."""

    def __init__(self) -> None:
        self.ticks = Ticks()
        self.turns = 0
        self.passes = TURN
        """How much time passes in a turn."""
        self.busy = 0.0
        """In how much of it something has waited for a processor."""
        self.stalled = 0.0

    def monotonic(self) -> float:
        self.turns += 1
        self.ticks.now += self.passes
        self.stalled += self.passes * self.busy
        return self.ticks.now


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine()
    monkeypatch.setattr(waiting, "TURN_SECONDS", TURN)
    monkeypatch.setattr(waiting, "PROMISE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "stalled_seconds", lambda: one.stalled)
    monkeypatch.setattr(waiting, "time", one)
    return one


async def turns_until_it_is_over(machine: Machine) -> int:
    async def never() -> bool:
        return False

    with pytest.raises(AssertionError, match="it never is"):
        await until(never, "it never is", within=SECONDS)
    return machine.turns


async def test_patience_lasts_as_long_as_it_says_where_nothing_waits(machine: Machine) -> None:
    assert 20 <= await turns_until_it_is_over(machine) <= 22


async def test_patience_lasts_four_times_as_long_on_a_machine_that_is_busy(
    machine: Machine,
) -> None:
    machine.busy = 1.0

    assert 80 <= await turns_until_it_is_over(machine) <= 82


async def test_the_time_for_which_the_tests_were_stopped_hardly_counts(machine: Machine) -> None:
    machine.passes = 100.0

    assert 10 <= await turns_until_it_is_over(machine) <= 12


async def test_what_is_promised_to_be_quick_is_given_no_more_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "stalled_seconds", lambda: pytest.fail("nobody asks"))

    with pytest.raises(TimeoutError):
        async with patience(min(TURN, PROMISE_SECONDS)):
            await asyncio.Event().wait()
