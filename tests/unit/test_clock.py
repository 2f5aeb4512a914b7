"""The estimate of the database's clock is never ahead of it."""

from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from app.scheduler.clock import DatabaseClock

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_an_answer_is_at_least_as_old_as_its_receipt() -> None:
    clock = DatabaseClock()
    now = monotonic()

    clock.observe(NOON, NOON, sent_at=now - 0.5, received_at=now)

    assert timedelta(0) <= clock.now() - NOON < timedelta(seconds=0.1)


def test_the_tightest_of_recent_answers_is_kept() -> None:
    clock = DatabaseClock()
    now = monotonic()
    quick, slow = NOON + timedelta(seconds=9.999), NOON + timedelta(seconds=9.5)

    clock.observe(NOON, NOON, sent_at=now - 0.001, received_at=now)
    clock.observe(slow, slow, sent_at=now + 9.4, received_at=now + 10)
    after_slow = clock.offset
    clock.observe(quick, quick, sent_at=now + 9.998, received_at=now + 10)

    assert after_slow == pytest.approx(NOON.timestamp() - now, abs=0.002)
    assert clock.offset == pytest.approx(NOON.timestamp() - now, abs=0.002)


def test_a_clock_that_was_set_back_is_followed_at_once() -> None:
    clock = DatabaseClock()
    now = monotonic()
    earlier = NOON - timedelta(hours=1)

    clock.observe(NOON, NOON, sent_at=now, received_at=now)
    clock.observe(earlier, earlier, sent_at=now, received_at=now)

    assert clock.now() - earlier < timedelta(seconds=0.1)


def test_an_instant_is_never_nearer_than_the_database_would_say() -> None:
    clock = DatabaseClock()
    now = monotonic()
    clock.observe(NOON, NOON, sent_at=now - 0.5, received_at=now)

    ahead = clock.seconds_until((NOON + timedelta(seconds=3)).timestamp())

    assert 2.9 < ahead <= 3.0
    assert clock.seconds_until(NOON.timestamp()) <= 0
