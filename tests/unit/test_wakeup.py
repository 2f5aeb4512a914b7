"""How long an instance sleeps between two looks."""

import pytest

from app.core.runs.wakeup import sleep_seconds


@pytest.mark.parametrize(
    ("wakeup", "blocked", "sleep"),
    [
        (None, 0, 30),
        (3.5, 0, 3.5),
        (500.0, 0, 30),
        (0.0, 0, 0),
        (-2.0, 0, 0),
        (None, 1, 0.02),
        (None, 2, 0.04),
        (None, 10, 1.0),
        (None, 5000, 1.0),
        (0.3, 10, 0.3),
    ],
)
def test_sleep(wakeup: float | None, blocked: int, sleep: float) -> None:
    assert sleep_seconds(wakeup, blocked_looks=blocked, shortest=0.02, longest=30) == sleep


def test_a_short_longest_sleep_bounds_the_blocked_one_too() -> None:
    assert sleep_seconds(None, blocked_looks=10, shortest=0.02, longest=0.5) == 0.5
