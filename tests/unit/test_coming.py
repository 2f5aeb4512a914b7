"""Which span of time the page of runs to come shows."""

from datetime import UTC, datetime, timedelta

import pytest

from app.web.coming import begin_of

NOW = datetime(2026, 12, 1, 4, 0, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


@pytest.mark.parametrize(
    ("given", "length", "begin"),
    [
        ("", HOUR, NOW),
        ("2026-12-01T04:00Z", HOUR, NOW.replace(second=0)),
        ("2026-12-01T03:00:06Z", HOUR, NOW - HOUR + timedelta(seconds=1)),
        ("2026-12-01T03:00Z", DAY, NOW.replace(second=0)),
        ("2026-11-30T05:00Z", DAY, NOW.replace(second=0)),
        ("2026-12-02T03:00Z", DAY, NOW.replace(day=2, hour=3, second=0)),
    ],
)
def test_a_span_that_is_not_over_is_shown_from_now_on(
    given: str, length: timedelta, begin: datetime
) -> None:
    assert begin_of(given, now=NOW, length=length) == (begin, "")


@pytest.mark.parametrize(
    ("given", "length"), [("2026-12-01T03:00Z", HOUR), ("2026-11-30T04:00Z", DAY)]
)
def test_a_span_that_is_over_is_refused(given: str, length: timedelta) -> None:
    _, error = begin_of(given, now=NOW, length=length)

    assert error == "That has passed: executions show what became of it."
