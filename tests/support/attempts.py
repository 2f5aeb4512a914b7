"""Attempts as a scheduler would hand them to an executor, and what carries them out."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import pytest

from app.core.net.egress import EVERY_PORT, Egress
from app.core.runs.outcome import Report
from app.targets.base import Context
from app.targets.executors import Executors
from app.targets.registry import decode_target

JOB = UUID("0193ab7e-0000-7000-8000-000000000001")
RUN = "2026-11-24T03:00:00Z"
NEARBY = Egress(allow_private=True, ports=EVERY_PORT)
"""What receivers on loopback need."""
Send = Callable[..., Awaitable[Report]]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def attempt(*, within: float = 10.0, job_name: str | None = "nightly report") -> Context:
    """The second attempt of a run; `within` is its timeout in seconds."""
    return Context(
        job_id=JOB,
        job_name=job_name,
        execution_id=42,
        run=RUN,
        attempt=2,
        timeout_seconds=within,
        traceparent=TRACE,
    )


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    """Give executors that may reach receivers on loopback."""
    async with Executors(egress=NEARBY) as executors:
        yield executors


@pytest.fixture
def send(executors: Executors) -> Send:
    """Give what carries out an attempt at an http target made of the keyword arguments."""

    async def send(*, within: float = 10.0, **target: object) -> Report:
        return await executors.execute(
            "http", decode_target("http", target), attempt(within=within)
        )

    return send
