"""Scheduler instances inside the test's own process, with everything else real."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from app.config import Settings
from app.core.facts import Connected
from app.scheduler.instance import Instance
from app.telemetry import Observers
from tests.support.recorder import Recorder
from tests.support.roles import in_role

DEFAULTS: dict[str, Any] = {"allow_private_targets": True, "grace_seconds": 5.0}
StartInstance = Callable[..., AbstractAsyncContextManager[tuple[Instance, Recorder]]]


@pytest.fixture
def instance_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Give the address at which instances log in, as their role; a module may have another."""
    return in_role("instance", request, database_url)


@pytest.fixture
def instance(instance_url: str) -> StartInstance:
    """On the test's database: `async with instance(concurrency=2) as (it, facts)`."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[tuple[Instance, Recorder]]:  # noqa: ANN401
        recorder = Recorder()
        one = Instance(
            Settings(**({"database_url": instance_url} | DEFAULTS | settings)), Observers(recorder)
        )
        running = asyncio.create_task(one.run(), name="instance")
        try:
            await recorder.seen(Connected)
            yield one, recorder
        finally:
            one.stop()
            await running

    return start
