"""How long to wait before another attempt."""

import pytest

from app.core.runs.claim import RetryPolicy
from app.core.runs.retry import backoff_seconds

POLICY = RetryPolicy(max_attempts=10, backoff_seconds=5, backoff_max_seconds=60)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (1000, 60)]
)
def test_the_wait_doubles_up_to_its_limit(attempt: int, seconds: float) -> None:
    assert backoff_seconds(attempt, POLICY, jitter=0.5) == pytest.approx(seconds)


def test_jitter_spreads_it_by_a_fifth_each_way() -> None:
    assert backoff_seconds(2, POLICY, jitter=0.0) == pytest.approx(8)
    assert backoff_seconds(2, POLICY, jitter=0.999999) == pytest.approx(12, abs=0.001)
