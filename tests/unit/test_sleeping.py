"""Claims that are not due yet sleep, those that are due go on in the order of their instants."""

from datetime import UTC, datetime, timedelta

import pytest

from app.db.clock import DatabaseClock
from app.scheduler.held_claim import HeldClaim
from app.scheduler.sleeping import Sleeping
from tests.support.claims import some_claim
from tests.support.ticks import Ticks

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def claim(seconds: float) -> HeldClaim:
    at = NOON + timedelta(seconds=seconds)
    return HeldClaim(some_claim(next_run=at, scheduled_for=at), lease_ends=60.0)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def sleeping(ticks: Ticks) -> Sleeping:
    clock = DatabaseClock(clock=ticks)
    clock.observe(NOON, NOON, sent_at=ticks.now, received_at=ticks.now)
    return Sleeping(clock)


def test_what_is_due_goes_on_in_order_and_the_rest_sleeps(sleeping: Sleeping, ticks: Ticks) -> None:
    now, late, soon, later = claim(0.0), claim(-5.0), claim(0.1), claim(0.2)

    assert sleeping.add([later, now, soon, late]) == [late, now]
    assert (len(sleeping), sleeping.first) == (2, soon)
    assert sleeping.seconds() == pytest.approx(0.1)
    assert list(sleeping.take_due()) == []

    ticks.now += 0.15
    assert list(sleeping.take_due()) == [soon]
    ticks.now += 0.15
    assert list(sleeping.take_due()) == [later]
    assert sleeping.seconds() == float("inf")


def test_one_that_is_taken_out_wakes_no_more(sleeping: Sleeping, ticks: Ticks) -> None:
    claims = [claim(seconds) for seconds in (0.1, 0.2, 0.3)]
    sleeping.add(claims)
    sleeping.remove(claims[1])
    ticks.now += 1.0

    assert list(sleeping.take_due()) == [claims[0], claims[2]]
