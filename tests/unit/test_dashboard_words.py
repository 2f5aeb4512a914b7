"""How the dashboard words and draws what it shows."""

from datetime import UTC, datetime, timedelta

import pytest

from app.db.pages import Minute
from app.web.pictures import Ended, Span, density, height, hour, strip
from app.web.words import at_most, duration, from_now, instant, plural

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),  # noqa: RUF001 - a dash for what there is not
        (0, "0 ms"),
        (0.000283, "0.283 ms"),
        (0.0125, "12.5 ms"),
        (0.99951, "1 s"),
        (1.234, "1.23 s"),
        (59.4, "59.4 s"),
        (60, "1 min"),
        (464, "7 min 44 s"),
        (3600, "1 h"),
        (36_060, "10 h"),
        (86_399.9, "1 d"),
        (90_000, "1 d 1 h"),
        (-2.5, "-2.5 s"),
    ],
)
def test_a_duration_has_two_or_three_digits_that_count(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"),
        (7, "in 7 s"),
        (-7.4, "7 s ago"),
        (119, "in 1 min"),
        (-119, "1 min ago"),
        (7200, "in 2 h"),
        (-90_000, "1 d 1 h ago"),
    ],
)
def test_how_far_an_instant_is_changes_once_a_minute(seconds: float, words: str) -> None:
    assert from_now(NOW + timedelta(seconds=seconds), NOW) == words


def test_an_instant_names_its_zone() -> None:
    shown = instant(NOW)

    assert 'datetime="2026-11-29T12:00:00Z"' in shown
    assert 'title="Sunday 2026-11-29 12:00:00.000 UTC"' in shown
    assert instant(None) == '<span class="none">never</span>'


def test_counts_end_where_counting_does() -> None:
    assert (at_most(9_999), at_most(10_000), at_most(10_001)) == ("9,999", "10,000+", "10,000+")
    assert (plural(1, "job"), plural(1_000, "job")) == ("1 job", "1,000 jobs")


@pytest.mark.parametrize("seconds", [None, -1.0, 0.0, 1e-9, 5.0, 1e9])
def test_every_bar_is_within_its_picture(seconds: float | None) -> None:
    assert 0.25 <= height(seconds) <= 1


def test_a_strip_shows_no_more_than_it_has_room_for() -> None:
    drawn = strip([Ended("succeeded", 0.1, NOW)] * 60)

    assert drawn.count("<title>") == 50
    assert 'aria-label="Last 50 executions: 50 succeeded"' in drawn
    assert 'aria-label="No executions yet"' in strip([])


def test_a_picture_of_nothing_is_one() -> None:
    assert "no runs" in density([], every=timedelta(minutes=1))
    assert "no runs" in density([Span(NOW, 0)], every=timedelta(minutes=1))
    assert "0 failed" in hour([], now=NOW)


def test_the_last_hour_is_drawn_by_minute_and_outcome() -> None:
    minutes = [
        Minute(at=NOW - timedelta(minutes=90), succeeded=9, failed=0, missed=0),
        Minute(at=NOW, succeeded=3, failed=1, missed=2),
    ]

    drawn = hour(minutes, now=NOW)

    assert drawn.count("<g>") == 1
    assert "12:00 UTC: 3 succeeded, 1 failed, 2 missed" in drawn
