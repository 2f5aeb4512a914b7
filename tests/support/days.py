"""Days and hours (UTC) for tests that run at any time, and while another day or hour begins."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

Day = Callable[..., str]


@pytest.fixture
def day() -> Day:
    """Give what writes the day on which the test began, or one so many days later."""
    began = datetime.now(UTC)
    return lambda offset=0: (began + timedelta(days=offset)).date().isoformat()


def distant_hour() -> int:
    """Return an hour of the day that neither is, nor begins, nor ends while a test runs."""
    return (datetime.now(UTC).hour + 12) % 24
