"""Makes the site in build/handbook/site: `make site`.

The reference is made of the code each time, its SQL of a database with the present schema; so no
page has to be kept true by hand. Warnings are errors.
"""

import asyncio
import subprocess
import sys

import asyncpg

from app.devdb import running_postgres
from handbook.layout import CONFIGURATION, lay_out, unlisted
from handbook.links import wrong_links
from handbook.places import BUILD, ROOT, SITE
from handbook.reference.api import api_page
from handbook.reference.commands import commands_page
from handbook.reference.fields import fields_page
from handbook.reference.metrics import metrics_page
from handbook.reference.settings import settings_page
from handbook.reference.sql import load_schema, sql_page
from handbook.reference.words import words_page

REFERENCE = "docs/reference"
DATABASE = "handbook"


async def sql_page_of(url: str) -> str:
    """Return the page of the schema, of a database made for it."""
    server = await asyncpg.connect(url)
    try:
        await server.execute(f"drop database if exists {DATABASE} with (force)")
        await server.execute(f"create database {DATABASE}")
        connection = await asyncpg.connect(url, database=DATABASE)
        try:
            await load_schema(connection)
            return await sql_page(connection)
        finally:
            await connection.close()
    finally:
        await server.close()


def reference(sql: str) -> dict[str, str]:
    """Return the pages of the reference by their paths."""
    pages = {
        "api": api_page(),
        "commands": commands_page(),
        "fields": fields_page(),
        "metrics": metrics_page(),
        "settings": settings_page(),
        "sql": sql,
        "words": words_page(),
    }
    return {f"{REFERENCE}/{name}.md": text for name, text in pages.items()}


def failures() -> list[str]:
    """Make the site, and say what is wrong with it."""
    if missing := unlisted():
        return [f"{page} is not in the navigation of {CONFIGURATION.name}" for page in missing]
    with running_postgres(BUILD / "postgres") as server:
        sql = asyncio.run(sql_page_of(server.url))
    lay_out(reference(sql))
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    built = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - our own
    if built.returncode:
        return [f"zensical ended with {built.returncode}"]
    return list(wrong_links(SITE))


def main() -> None:
    if found := failures():
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
