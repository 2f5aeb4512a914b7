"""Helpers of the commands that work on the database."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from app.config import Settings
from app.db import Database, migrate
from app.db.database import Page
from app.errors import DatabaseRefused, DatabaseUnavailable
from app.wire.pages import ItemCursor

PAGE = 200
"""Items that one statement reads."""

T = TypeVar("T")
KeyT = TypeVar("KeyT")


def run_with_database(
    work: Callable[[Database, Settings], Awaitable[T]], *, application_name: str
) -> T:
    """Run a coroutine function with the settings and a connection to the database they name.

    Raises:
        SchemaOutdated: the schema is not the one this version needs.
        DatabaseUnavailable: the database cannot be reached.
    """
    settings = Settings.from_environ(os.environ)

    async def connect_and_work() -> T:
        url = settings.required_database_url()
        async with Database.connect(url, application_name=application_name) as db:
            await migrate.check(db)
            return await work(db, settings)

    return asyncio.run(connect_and_work())


async def check_schema(settings: Settings) -> None:
    """Check the schema before processes start; pass if the database does not answer yet.

    Raises:
        DatabaseRefused: the database refuses the connection, or has another schema.
    """
    url = settings.required_database_url()
    try:
        async with Database.connect(url, application_name="tocsin", max_connections=1) as db:
            await migrate.check(db)
    except DatabaseRefused:
        raise
    except DatabaseUnavailable:
        return


def through(command: str | None, message: str) -> str:
    """Have each command that a message names go through another, such as `tocsin dev`."""
    return re.sub("`tocsin (?!dev\\b)", f"`{command} ", message) if command else message


def say_empty(message: str) -> None:
    """Say on stderr that a list is empty; programs that read the list from stdout get nothing."""
    click.echo(through(click.get_current_context().find_root().obj, message), err=True)


async def read_all(
    list_page: Callable[[KeyT | None, int], Awaitable[Page[T]]], cursor: ItemCursor[KeyT]
) -> list[T]:
    """Read a whole list, page by page."""
    page = await list_page(None, PAGE)
    found = list(page.items)
    while page.more:
        page = await list_page(cursor.key(found[-1]), PAGE)
        found += page.items
    return found
