"""What the end-to-end tests share: the processes as they are shipped."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cluster import Processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(150))


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[Processes]:
    """Start processes on the test's database."""
    settings = {"database_url": database_url, "allow_private_targets": "true"}
    async with Processes(**settings).running() as processes:
        yield processes
