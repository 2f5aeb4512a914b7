"""The API as uvicorn serves it, on a port of the loopback interface."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn

from app.asgi import create_app
from app.config import Settings
from app.telemetry import Observers
from tests.support.recorder import Recorder
from tests.support.waiting import until


@pytest.fixture
async def served(api_url: str) -> AsyncIterator[str]:
    """Serve the API on the test's database, and give its address."""
    settings = Settings(database_url=api_url, access_log_level="off")
    app = create_app(settings, Observers(Recorder()))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    running = asyncio.create_task(server.serve(), name="server")

    async def started() -> bool:
        return server.started

    await until(started, "the server has started")
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    await running
