"""What docs/sql.md shows works: in psql, and from asyncpg."""

import json
import re

import asyncpg

from tests.support.pages import ROOT
from tests.support.psql import run_psql
from tests.support.roles import as_role

PAGE = (ROOT / "docs" / "sql.md").read_text("utf-8")
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(async def .*?)```", PAGE, re.DOTALL)
CALLS = re.findall(r"^\| `(tocsin\..*?)` \|", PAGE, re.MULTILINE)
ORDERS = (
    "create table public.orders (id integer, email text); grant insert on public.orders to public"
)


async def test_what_the_page_shows_for_psql_works(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(ORDERS)

    for block in SQL:
        run_psql(database_url, f"set search_path = public; {block}")
    for call in CALLS:
        run_psql(database_url, f"select {call}")

    job = await connection.fetchrow("select * from tocsin.jobs where name = 'nightly-report'")
    assert (len(SQL), len(CALLS)) == (3, 6)
    assert job is not None
    assert (job["cron"], job["overlap"], job["skip_runs"]) == ("0 3 * * *", "skip", 2)
    assert "v2" in job["target"]
    assert await connection.fetchval("select count(*) from tocsin.jobs where run_of is null") == 2


async def test_what_the_page_shows_for_asyncpg_works(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(ORDERS)
    [recipe] = PYTHON
    names: dict[str, object] = {"json": json}
    exec(recipe, names)  # noqa: S102 - of a page of ours
    remind = names["remind"]
    program = await asyncpg.connect(as_role("writer", database_url))

    try:
        await program.execute("set search_path = public")
        await remind(program, 4711, "ada@example.com")  # type: ignore[operator]
    finally:
        await program.close()

    assert await connection.fetchval("select email from public.orders") == "ada@example.com"
    assert await connection.fetchval("select name from tocsin.jobs") == "remind-4711"
