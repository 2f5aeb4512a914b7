"""The API in the test's own process, spoken to over HTTP without a network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.asgi import create_app
from app.config import Settings
from app.telemetry import Observers
from tests.support.recorder import Recorder
from tests.support.roles import in_role

STARTUP_SECONDS = 10.0

JOB = {"kind": "http", "target": {"url": "http://127.0.0.1:9/nothing-listens-here"}}
LATER = {**JOB, "run_at": "2100-01-01T00:00:00Z"}
NIGHTLY = {**JOB, "cron": "0 3 * * *", "timezone": "Europe/Paris"}
HOURLY = {**JOB, "every_seconds": 3600}


@asynccontextmanager
async def serving(
    database_url: str,
    recorder: Recorder,
    *,
    client: str = "127.0.0.1",
    only_pings: bool = False,
    keeps_traceparent: bool = False,
    **settings: Any,  # noqa: ANN401 - of whatever type the settings have
) -> AsyncIterator[httpx.AsyncClient]:
    """Start the application on a database and give a client of it, seen at the address `client`."""
    app = create_app(
        Settings(database_url=database_url, **settings),
        Observers(recorder),
        only_pings=only_pings,
        keeps_traceparent=keeps_traceparent,
    )
    # Each of the two has types of its own for the same ASGI.
    transport = httpx.ASGITransport(
        app=app,  # type: ignore[arg-type]
        raise_app_exceptions=False,
        client=(client, 50_000),
    )
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        yield api


@pytest.fixture
def faults() -> Recorder:
    """Keep the facts that the API states."""
    return Recorder()


@pytest.fixture
def api_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Give the address at which the API logs in, as its role; a module may have another."""
    return in_role("api", request, database_url)


@asynccontextmanager
async def lasting(database_url: str, recorder: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    """Serve as `serving` does, for a fixture.

    The lifespan has to stop in the task that started it; a fixture does not keep to one.
    """
    given: asyncio.Queue[httpx.AsyncClient] = asyncio.Queue()
    done = asyncio.Event()

    async def serve() -> None:
        async with serving(database_url, recorder) as client:
            await given.put(client)
            await done.wait()

    running = asyncio.create_task(serve(), name="api")
    try:
        yield await asyncio.wait_for(given.get(), STARTUP_SECONDS)
    finally:
        done.set()
        await running


@pytest.fixture
async def api(api_url: str, faults: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the API on the test's database."""
    async with lasting(api_url, faults) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_api(
    request: pytest.FixtureRequest, module_database: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API that tests of a module share, which leave nothing to each other.

    To make an application and a database takes most of the time of a test of a single call.
    """
    async with lasting(in_role("api", request, module_database), Recorder()) as client:
        yield client


def fields(answer: httpx.Response) -> list[str]:
    """Name the fields that a problem is about."""
    return [error["field"] for error in answer.json()["errors"]]
