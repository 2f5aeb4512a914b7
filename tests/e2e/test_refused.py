"""Commands as they are shipped, on a database or with an address that will not do."""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from urllib.parse import urlsplit
from uuid import uuid4

import click
import pytest

from app.cli.main import main
from tests.support.cluster import ROOT, Process, Processes
from tests.support.postgres import SCHEMA, PostgresServer, url_of
from tests.support.psql import run_psql

COMMANDS = ("scheduler", "api", "doctor", "migrate", "roles", "prune", "keys list", "secrets list")
SECRET = "s3cret-pa55"


async def printed(command: str, **variables: str) -> tuple[int, list[str]]:
    """Run a command to its end; return its exit code and the lines that it printed."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *command.split()),
        env=ours | {"TOCSIN_PORT": "0"} | variables,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, said.decode().splitlines()


@pytest.fixture(scope="module")
def unmigrated(postgres_server: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Give databases that nobody migrated, by their state; no command changes them."""

    @contextmanager
    def database(state: str) -> Iterator[str]:
        name = f"empty_{uuid4().hex}"
        run_psql(postgres_server.url, f"create database {name}")
        url = url_of(postgres_server.url, name)
        run_psql(url, UNMIGRATED[state])
        yield url
        run_psql(postgres_server.url, f"drop database {name} with (force)")

    with ExitStack() as stack:
        yield cache(lambda state: stack.enter_context(database(state)))


@pytest.fixture(scope="module")
def newer_database(module_database: str) -> str:
    """Give a database that a newer version has migrated; every command leaves it as it is."""
    run_psql(module_database, NEWER)
    return module_database


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_wrong_password_is_one_sentence_and_the_end(
    postgres_server: PostgresServer, command: str
) -> None:
    address = urlsplit(postgres_server.url)
    place = address.netloc.rpartition("@")[2]
    url = address._replace(netloc=f"{address.username}:{SECRET}@{place}").geturl()

    code, lines = await printed(command, TOCSIN_DATABASE_URL=url)

    assert (code, len(lines)) == (1, 1), lines
    assert "refused the connection" in lines[0]
    assert "password" in lines[0]
    assert SECRET not in lines[0]


@pytest.mark.parametrize("command", COMMANDS)
async def test_an_address_that_is_none_is_one_sentence_without_its_password(command: str) -> None:
    code, lines = await printed(command, TOCSIN_DATABASE_URL=f"host=db password=two {SECRET}")

    assert (code, len(lines)) == (1, 1), lines
    assert "TOCSIN_DATABASE_URL" in lines[0]
    assert SECRET not in lines[0]


EVERY_COMMAND = (
    *("scheduler", "scheduler --processes 2", "api", "dev", "migrate", "roles", "prune", "doctor"),
    *("keys create NAME --scope admin", "keys list", "keys revoke NAME"),
    *("secrets set NAME", "secrets list", "secrets delete NAME", "secrets rotate"),
)
MIGRATING = ("dev", "migrate")
UNMIGRATED = {
    "empty": "",
    "half made": "create schema tocsin",
    "older": f"\\i {SCHEMA[0]}\n\\i {SCHEMA[1]}\ndelete from tocsin.schema_migrations",
}
NEWER = """
insert into tocsin.schema_migrations (version, breaking) values (9999, true)
"""


def names(command: click.Command | None, name: str) -> set[str]:
    """Name a command, or all of a group with the group's name before theirs."""
    if not isinstance(command, click.Group):
        return {name}
    return {
        each for inner, one in command.commands.items() for each in names(one, f"{name} {inner}")
    }


def test_no_command_on_a_database_is_left_out_here() -> None:
    here = {re.sub(" (NAME|--).*", "", command) for command in EVERY_COMMAND}
    context = click.Context(main)
    of_the_service = main.sections["The service, on Postgres itself"]

    there = [names(main.get_command(context, name), name) for name in of_the_service]

    assert here == set().union(*there)


@pytest.mark.parametrize("command", EVERY_COMMAND)
async def test_a_newer_schema_is_one_sentence_in_every_command(
    newer_database: str, command: str
) -> None:
    code, lines = await printed(command, TOCSIN_DATABASE_URL=newer_database)

    assert (code, len(lines)) == (1, 1), lines
    assert "the database has schema version 9999" in lines[0]
    assert "newer Tocsin" in lines[0] or "newest Tocsin" in lines[0]
    assert run_psql(newer_database, "select count(*) from tocsin.api_keys") == "0"


@pytest.mark.parametrize("state", UNMIGRATED)
@pytest.mark.parametrize("command", [one for one in EVERY_COMMAND if one not in MIGRATING])
async def test_on_a_database_that_nobody_migrated_every_command_ends_with_what_to_run(
    unmigrated: Callable[[str], str], command: str, state: str
) -> None:
    code, lines = await printed(command, TOCSIN_DATABASE_URL=unmigrated(state))

    newest = max(int(file.name[:4]) for file in (ROOT / "db" / "migrations").glob("*.sql"))
    sentence = f"tocsin: the database lacks schema version {newest}: run `tocsin migrate`"
    assert (code, lines) == (1, [sentence])


async def test_what_has_no_effect_is_a_word_in_the_log(
    processes: Processes, database_url: str
) -> None:
    instance = await processes.instance(database_url=f"{database_url}?channel_binding=require")

    [line] = instance.said("ignored")

    assert "channel_binding" in line["setting"]
    assert await instance.terminate() == 0


@pytest.mark.parametrize("command", ["scheduler", "api"])
async def test_a_database_that_is_not_there_yet_is_waited_for(
    processes: Processes, command: str
) -> None:
    waiting: Process = await processes.start(
        command, database_url="postgresql://127.0.0.1:9/x", port=0
    )

    await waiting.says("serving" if command == "api" else "retrying")

    assert [line["error"] for line in waiting.said("retrying", tries=1)] == [
        "Postgres is not available: nothing listens at 127.0.0.1:9 ([Errno 111] Connection refused)"
        for _ in range(command == "scheduler")
    ]
    assert await waiting.terminate() == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("keys list", "there is no API key: `tocsin keys create NAME --scope admin` makes one"),
        ("secrets list", "there is no named secret: `tocsin secrets set NAME` makes one"),
        (
            "prune",
            "no day of executions had to be dropped or added, and no finished job to be deleted",
        ),
    ],
)
async def test_where_there_is_nothing_a_command_says_so_in_a_line(
    database_url: str, command: str, said: str
) -> None:
    await printed("prune", TOCSIN_DATABASE_URL=database_url)

    code, lines = await printed(command, TOCSIN_DATABASE_URL=database_url)

    assert (code, lines) == (0, [said])
