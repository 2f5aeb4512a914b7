"""The dashboard as people see it: served over a real socket, in Debian's Chromium."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from litestar import Litestar
from playwright.async_api import Browser, Page, async_playwright

from app.asgi import create_app
from app.cli.listening import Server, listening_socket, make_server
from app.config import Settings
from tests.support.waiting import until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ALONE = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
"""Arguments with which Chromium runs as root and in containers."""


class Site(NamedTuple):
    """A server under test."""

    server: Server
    app: Litestar
    address: str


@asynccontextmanager
async def served(database_url: str, **settings: Any) -> AsyncIterator[Site]:  # noqa: ANN401
    """Serve API and dashboard in this process."""
    chosen = Settings(database_url=database_url, port=0, **settings)
    with listening_socket("127.0.0.1", 0, setting="the test") as sock:
        app = create_app(chosen)
        server = make_server(app, chosen)
        running = asyncio.create_task(server.serve(sockets=[sock]))

        async def started() -> bool:
            return server.started

        await until(started, "the server has started")
        try:
            yield Site(server, app, f"http://127.0.0.1:{sock.getsockname()[1]}")
        finally:
            server.stop()
            await running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Start a browser for the tests of a module."""
    program = next(path for name in PROGRAMS if (path := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(ALONE))
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    address: str,
    **context: Any,  # noqa: ANN401
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Give a page of a fresh profile, and the errors and warnings that it prints."""
    profile = await browser.new_context(base_url=address, **context)
    page = await profile.new_page()
    said: list[str] = []
    page.on(
        "console",
        lambda message: said.append(message.text) if message.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        yield page, said
    finally:
        await profile.close()


async def violations(page: Page) -> list[str]:
    """Ask axe-core which rules of accessibility a page breaks, and where."""
    found = await Axe().run(page)
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
