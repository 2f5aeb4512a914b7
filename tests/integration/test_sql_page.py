"""What docs/sql.md shows works: in psql, and from each library, as the role of writers."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
import sqlalchemy
from django.db import DatabaseError, connection, connections, models, transaction
from psycopg.types.json import Jsonb
from sqlalchemy.orm import Session

from tests.support import django_project
from tests.support.clients import environment
from tests.support.pages import ROOT
from tests.support.psql import run_psql
from tests.support.roles import as_role

PAGE = (ROOT / "docs" / "sql.md").read_text("utf-8")
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
CALLS = re.findall(r"^\| `(tocsin\..*?)` \|", PAGE, re.MULTILINE)
RECIPES = dict(
    re.findall(
        r"^(?:With|By) `?([\w ]+?)`?,(?:[^\n]+\n)+\n```(?:python|javascript|go)\n(.*?)```",
        PAGE,
        re.DOTALL | re.MULTILINE,
    )
)
PLACE = ROOT / "tests" / "support" / "recipes"
ORDERS = """
    create table public.orders (id integer unique deferrable initially deferred, email text);
    grant insert on public.orders to public;
"""
"""What is wrong with an order shows at the COMMIT, when its job is written."""
ORDER, EMAIL = 4711, "ada@example.com"
Psql = Callable[[str], str]
Remind = Callable[[int, str], None]


@pytest.fixture
def writer_url(database_url: str, psql: Psql) -> str:
    psql(ORDERS)
    return as_role("writer", database_url)


def function(recipe: str, name: str = "remind", **names: object) -> Callable[..., Any]:
    """Make a function of what the page shows; `names` are what it imports."""
    exec(RECIPES[recipe], names)  # noqa: S102 - of a page of ours
    return names[name]  # type: ignore[return-value]


def with_asyncpg(url: str) -> Remind:
    async def call(order: int, email: str) -> None:
        program = await asyncpg.connect(url)
        try:
            await function("asyncpg", json=json)(program, order, email)
        finally:
            await program.close()

    return lambda order, email: asyncio.run(call(order, email))


def with_psycopg(url: str) -> Remind:
    def call(order: int, email: str) -> None:
        with psycopg.connect(url) as program:
            program.execute("select 1")  # so that what follows is in a transaction already
            function("psycopg 3", Jsonb=Jsonb)(program, order, email)

    return call


def with_sqlalchemy(url: str) -> Remind:
    def call(order: int, email: str) -> None:
        engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        try:
            with Session(engine) as session:
                function("SQLAlchemy 2", text=sqlalchemy.text, json=json)(session, order, email)
        finally:
            engine.dispose()

    return call


def with_django(_: str) -> Remind:
    return function("Django", transaction=transaction, connection=connection, json=json)


def with_node(url: str) -> Remind:
    if not (PLACE / "node" / "node_modules" / "pg").is_dir():
        run([str(ROOT / "scripts" / "install-recipes"), sys.executable], ROOT)

    def call(order: int, email: str) -> None:
        run(["node", "run.js", url, RECIPES["pg"], str(order), email], PLACE / "node")

    return call


def run(command: list[str], place: Path) -> None:
    done = subprocess.run(  # noqa: S603 - of tests
        command, cwd=place, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)


@pytest.fixture
def django_at(writer_url: str) -> Iterator[str]:
    """Have Django's connection lead to the test's database."""
    address = urlsplit(writer_url)
    database = {
        "NAME": address.path.removeprefix("/"),
        "USER": address.username,
        "PASSWORD": address.password,
        "HOST": address.hostname,
        "PORT": str(address.port),
    }
    django_project.configure()
    connections["default"].settings_dict.update(database)
    yield writer_url
    connections["default"].close()


@pytest.mark.parametrize(
    ("library", "refusal"),
    [
        (with_asyncpg, asyncpg.UniqueViolationError),
        (with_psycopg, psycopg.errors.UniqueViolation),
        (with_sqlalchemy, sqlalchemy.exc.IntegrityError),
        (with_django, DatabaseError),
        (with_node, RuntimeError),
    ],
)
def test_what_the_page_shows_makes_order_and_job_or_neither(
    django_at: str, psql: Psql, library: Callable[[str], Remind], refusal: type[Exception]
) -> None:
    keeps_order_and_job_together(library(django_at), psql, refusal)


@pytest.mark.timeout(300)  # where pgx has yet to be compiled
def test_what_the_page_shows_for_go_makes_order_and_job_or_neither(
    writer_url: str, psql: Psql, tmp_path: Path
) -> None:
    shutil.copytree(PLACE / "go", tmp_path / "go")
    head = 'package main\n\nimport (\n\t"context"\n\t"fmt"\n\n\t"github.com/jackc/pgx/v5"\n)\n\n'
    (tmp_path / "go" / "remind.go").write_text(head + RECIPES["pgx"], "utf-8")
    run(["go", "build", "-o", "remind"], tmp_path / "go")

    keeps_order_and_job_together(
        lambda order, email: run(["./remind", writer_url, str(order), email], tmp_path / "go"),
        psql,
        RuntimeError,
    )


def keeps_order_and_job_together(remind: Remind, psql: Psql, refusal: type[Exception]) -> None:
    remind(ORDER, EMAIL)

    assert psql("select email from public.orders") == EMAIL
    written = psql("select name, edited_at, target ->> 'json' from tocsin.jobs")
    assert written.startswith(f"remind-{ORDER}|")
    assert json.loads(written.split("|")[2]) == {"order": ORDER}
    with pytest.raises(refusal):
        remind(ORDER, "eve@example.com")
    assert psql("select name, edited_at, target ->> 'json' from tocsin.jobs") == written


def test_what_the_page_shows_for_the_orm_of_django_works(django_at: str, psql: Psql) -> None:
    assert django_at
    names = {"models": models, "datetime": datetime, "__name__": "orm"}
    source = RECIPES["its ORM"].replace(
        "    class Meta:", "    class Meta:\n        app_label = 'orm'"
    )
    exec(source, names)  # noqa: S102 - of a page of ours
    job, later, other = (names[name] for name in ("Job", "remind_later", "remind_at"))
    day = datetime(2100, 1, 1, tzinfo=UTC)

    later(ORDER, day)  # type: ignore[operator]
    other(ORDER, day.replace(day=2))  # type: ignore[operator]

    assert psql("select run_at at time zone 'UTC' from tocsin.jobs") == "2100-01-02 00:00:00"
    read = job.objects.defer("target").get()  # type: ignore[attr-defined]
    assert (read.name, read.kind, read.run_at.day) == (f"remind-{ORDER}", "http", 2)


async def test_what_the_page_shows_for_psql_works(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(ORDERS)

    for block in SQL:
        run_psql(database_url, f"set search_path = public; {block}")
    for call in CALLS:
        run_psql(database_url, f"select {call}")

    job = await connection.fetchrow("select * from tocsin.jobs where name = 'nightly-report'")
    assert (len(SQL), len(CALLS), len(RECIPES)) == (3, 8, 7)
    assert job is not None
    assert (job["cron"], job["overlap"], job["skip_runs"]) == ("0 3 * * *", "skip", 2)
    assert "v2" in job["target"]
    assert await connection.fetchval("select count(*) from tocsin.jobs where run_of is null") == 2
