"""Processes whose log nobody reads, or nobody can; and those whose terminal is gone."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.devdb.places import reachable_home
from tests.support.builders import insert_job
from tests.support.cluster import ROOT, Processes
from tests.support.rabbit import free_ports
from tests.support.sink import Sink
from tests.support.waiting import until

PATIENCE_SECONDS = 40.0
PAST_A_PIPE = 400
"""Executions whose lines at the level debug are more than a pipe holds."""


@asynccontextmanager
async def started(
    command: str, url: str | None, *, stderr: int, port: int = 0, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *command.split()),
        env=ours
        | ({} if url is None else {"TOCSIN_DATABASE_URL": url})
        | more
        | {
            "TOCSIN_ALLOW_PRIVATE_TARGETS": "true",
            "TOCSIN_LOG_LEVEL": "debug",
            "TOCSIN_LOG_FORMAT": "json",
            "TOCSIN_PORT": str(port),
        },
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stderr,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await process.wait()


@pytest.mark.parametrize("reader", ["stuck", "gone", "full"])
@pytest.mark.parametrize("command", ["scheduler", "scheduler --processes 2"])
async def test_executions_go_on_and_a_stop_drains_whatever_the_reader_does(
    database_url: str, connection: asyncpg.Connection, sink: Sink, command: str, reader: str
) -> None:
    async def all_arrived() -> bool:
        return len(sink.requests) >= PAST_A_PIPE

    ours, theirs = os.pipe()
    if reader == "full":
        os.close(theirs)
        theirs = os.open("/dev/full", os.O_WRONLY)
    if reader == "gone":
        os.close(ours)
    async with started(command, database_url, stderr=theirs) as process:
        os.close(theirs)
        for _ in range(PAST_A_PIPE):
            await insert_job(connection, target={"url": sink.url("/due")})
        await until(all_arrived, "all were executed", within=PATIENCE_SECONDS)

        process.terminate()

        assert await ended(process) == 0
    if reader != "gone":
        os.close(ours)


@pytest.mark.parametrize("reader", ["stuck", "gone"])
async def test_the_api_answers_whatever_the_reader_does(database_url: str, reader: str) -> None:
    ours, theirs = os.pipe()
    [port] = free_ports(1)
    filler = b"x" * 65_536 if reader == "stuck" else b""
    os.set_blocking(theirs, False)
    os.write(theirs, filler)  # full from the start
    os.set_blocking(theirs, True)
    if reader == "gone":
        os.close(ours)
    async with started("api", database_url, stderr=theirs, port=port) as process:
        os.close(theirs)

        async def answers() -> bool:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
                try:
                    return (await api.get("/health/ready")).status_code == 200
                except httpx.HTTPError:
                    return False

        await until(answers, "the API is ready", within=PATIENCE_SECONDS)
        process.terminate()

        assert await ended(process) == 0
    if reader == "stuck":
        os.close(ours)


@pytest.mark.parametrize("reader", ["stuck", "gone"])
@pytest.mark.parametrize("postgres", ["given", "embedded"])
async def test_dev_neither_freezes_nor_ends_whatever_the_reader_does(
    database_url: str, sink: Sink, tmp_path: Path, postgres: str, reader: str
) -> None:
    ours, theirs = os.pipe()
    [port] = free_ports(1)
    os.set_blocking(theirs, False)
    os.write(theirs, b"x" * 65_536)  # full from the start
    os.set_blocking(theirs, True)
    if reader == "gone":
        os.close(ours)
    url = database_url if postgres == "given" else None
    data_dir = str(tmp_path / "data")
    job = {"kind": "http", "target": {"url": sink.url("/due")}, "run_at": "2026-01-01T00:00:00Z"}
    async with (
        started("dev", url, stderr=theirs, port=port, TOCSIN_DATA_DIR=data_dir) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as api,
    ):
        os.close(theirs)

        async def answers() -> bool:
            try:
                return (await api.get("/health/ready")).status_code == 200
            except httpx.HTTPError:
                return False

        async def all_arrived() -> bool:
            return len(sink.requests) >= PAST_A_PIPE

        await until(answers, "the API is ready", within=100)
        created = await api.post("/v1/jobs/batch", json=[job] * PAST_A_PIPE)
        await until(all_arrived, "all were executed", within=PATIENCE_SECONDS)
        assert created.status_code == 201
        assert await answers()
        process.terminate()

        assert await ended(process) == 0
    if reader == "stuck":
        os.close(ours)


@pytest.mark.parametrize("command", ["scheduler", "api"])
async def test_a_command_that_fails_ends_though_nobody_reads_why(command: str) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    os.write(theirs, b"x" * 65_536)
    os.set_blocking(theirs, True)
    async with started(command, "postgresql://h/d?sslmode=sure", stderr=theirs) as process:
        os.close(theirs)

        assert await ended(process) == 1
    os.close(ours)


@pytest.mark.parametrize("command", ["scheduler", "api", "scheduler --processes 2"])
async def test_a_terminal_that_goes_away_drains_a_process(
    processes: Processes, command: str
) -> None:
    process = await processes.start(*command.split(), port=0)
    await process.says("serving" if command == "api" else "connected")

    process.send(signal.SIGHUP)
    process.send(signal.SIGTERM)  # as systemd and terminals send both

    assert await process.ended(within=PATIENCE_SECONDS) == 0
    if command == "scheduler":
        assert process.said("draining")
        assert process.said("stopped")


async def test_a_terminal_that_goes_away_stops_the_postgres_of_dev(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with Processes(data_dir=data, port=0).running() as processes:
        process = await processes.start("dev")
        await process.says("connected", within=100)
        port = int((reachable_home(data) / "port").read_text("ascii"))
        socket.create_connection(("127.0.0.1", port)).close()

        process.send(signal.SIGHUP)

        assert await process.ended(within=PATIENCE_SECONDS) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
