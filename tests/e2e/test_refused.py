"""Commands as they are shipped, on a database or with an address that will not do."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from tests.support.cluster import ROOT, Process, Processes
from tests.support.postgres import PostgresServer, url_of

COMMANDS = ("scheduler", "api", "doctor", "migrate", "keys list", "secrets list")
SERVING = ("scheduler", "api", "scheduler --processes 2")
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


@pytest.fixture
async def empty_database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """Give a database that nobody migrated."""
    name = f"empty_{uuid4().hex}"
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute(f"create database {name}")
    yield url_of(postgres_server.url, name)
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_wrong_password_is_one_sentence_and_the_end(
    database_url: str, command: str
) -> None:
    address = urlsplit(database_url)
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


@pytest.mark.parametrize("command", [*SERVING, "doctor", "keys list"])
async def test_on_a_database_that_nobody_migrated_every_command_ends_with_what_to_run(
    empty_database: str, command: str
) -> None:
    code, lines = await printed(command, TOCSIN_DATABASE_URL=empty_database)

    assert code == 1
    told = [line for line in lines if "tocsin migrate" in line]
    assert told, lines
    assert not [line for line in lines if "Traceback" in line]


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

    await waiting.says("serving" if command == "api" else "stamina.retry_scheduled")

    assert await waiting.terminate() == 0
