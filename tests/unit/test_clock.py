"""The estimate of the database's clock is never ahead of it."""

from datetime import UTC, datetime, timedelta

import pytest

from app.db.clock import DatabaseClock
from tests.support.ticks import Ticks

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_an_answer_is_at_least_as_old_as_its_receipt() -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)
    now = ticks.now

    clock.observe(NOON, NOON, sent_at=now - 0.5, received_at=now)

    assert timedelta(0) <= clock.now() - NOON < timedelta(seconds=0.1)


def test_the_tightest_of_recent_answers_is_kept() -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)
    now = ticks.now
    quick, slow = NOON + timedelta(seconds=9.999), NOON + timedelta(seconds=9.5)

    clock.observe(NOON, NOON, sent_at=now - 0.001, received_at=now)
    clock.observe(slow, slow, sent_at=now + 9.4, received_at=now + 10)
    after_slow = clock.offset
    clock.observe(quick, quick, sent_at=now + 9.998, received_at=now + 10)

    assert after_slow == pytest.approx(NOON.timestamp() - now, abs=0.002)
    assert clock.offset == pytest.approx(NOON.timestamp() - now, abs=0.002)


def test_a_clock_that_was_set_back_is_followed_at_once() -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)
    now = ticks.now
    earlier = NOON - timedelta(hours=1)

    clock.observe(NOON, NOON, sent_at=now, received_at=now)
    clock.observe(earlier, earlier, sent_at=now, received_at=now)

    assert clock.now() - earlier < timedelta(seconds=0.1)


def test_an_instant_is_never_nearer_than_the_database_would_say() -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)
    now = ticks.now
    clock.observe(NOON, NOON, sent_at=now - 0.5, received_at=now)

    ahead = clock.seconds_until((NOON + timedelta(seconds=3)).timestamp())

    assert 2.9 < ahead <= 3.0
    assert clock.seconds_until(NOON.timestamp()) <= 0


def answered(clock: DatabaseClock, shown: datetime, *, at: float) -> None:
    clock.observe(shown, shown, sent_at=at - 0.01, received_at=at)


def test_a_clock_that_jumped_ahead_is_believed_only_when_it_has_stayed_there() -> None:
    ticks = Ticks()
    clock = DatabaseClock(hold_seconds=60.0, clock=ticks)
    now = ticks.now
    ahead = NOON + timedelta(days=60)

    answered(clock, NOON, at=now)
    answered(clock, ahead, at=now)
    answered(clock, ahead + timedelta(seconds=59), at=now + 59)
    kept, believed = clock.now(), clock.believed()
    answered(clock, ahead + timedelta(seconds=61), at=now + 61)

    assert abs(kept - NOON) < timedelta(seconds=1)
    assert believed is not None
    assert NOON < believed < NOON + timedelta(seconds=3)
    assert abs(clock.now() - ahead) < timedelta(seconds=1)


def test_a_clock_that_came_back_in_time_was_never_believed() -> None:
    ticks = Ticks()
    clock = DatabaseClock(hold_seconds=60.0, clock=ticks)
    now = ticks.now

    for seconds in range(0, 300, 20):
        wrong = timedelta(days=60) if seconds % 60 == 40 else timedelta()
        answered(clock, NOON + timedelta(seconds=seconds) + wrong, at=now + seconds)

    assert abs(clock.now() - NOON) < timedelta(seconds=1)


def test_a_clock_that_goes_fast_is_followed_without_a_hold() -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)
    now = ticks.now

    for seconds in range(0, 20_000, 30):
        answered(clock, NOON + timedelta(seconds=seconds * 1.0005), at=now + seconds)
        assert clock.ahead_since is None

    assert abs(clock.now() - NOON - timedelta(seconds=10)) < timedelta(seconds=0.1)


def test_an_answer_that_took_long_makes_the_next_one_no_step() -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)
    now = ticks.now

    clock.observe(NOON, NOON, sent_at=now - 5, received_at=now)
    answered(clock, NOON + timedelta(seconds=5), at=now)

    assert clock.ahead_since is None
    assert abs(clock.now() - NOON - timedelta(seconds=5)) < timedelta(seconds=0.1)


def test_nothing_is_believed_before_the_first_answer() -> None:
    assert DatabaseClock().believed() is None
