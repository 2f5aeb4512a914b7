"""What the commands that work on the database share."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.config import Settings
from app.db import Database
from app.db.database import Page
from app.wire.pages import Cursor

PAGE = 200
"""Items that one statement reads."""

T = TypeVar("T")
KeyT = TypeVar("KeyT")


def run_with_database(
    work: Callable[[Database, Settings], Awaitable[T]], *, application_name: str
) -> T:
    """Run a coroutine function with the settings and a connection to the database they name."""
    settings = Settings.from_environ(os.environ)

    async def connect_and_work() -> T:
        url = settings.required_database_url()
        async with Database.connect(url, application_name=application_name) as db:
            return await work(db, settings)

    return asyncio.run(connect_and_work())


async def read_all(
    list_page: Callable[[KeyT | None, int], Awaitable[Page[T]]], cursor: Cursor[KeyT]
) -> list[T]:
    """Read a whole list, page by page."""
    page = await list_page(None, PAGE)
    found = list(page.items)
    while page.more:
        page = await list_page(cursor.key(found[-1]), PAGE)
        found += page.items
    return found
