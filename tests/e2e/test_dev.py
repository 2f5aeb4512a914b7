"""The first steps of the README: a job over REST and one in psql, both called and recorded."""

import asyncio
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.builders import execution_rows, insert_job
from tests.support.cluster import ROOT, Processes
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

START_SECONDS = 60.0


class Dev:
    """A running `tocsin dev` and what it printed at its start."""

    def __init__(self, process: asyncio.subprocess.Process, welcome: str) -> None:
        self.process = process
        self.welcome = welcome
        [self.url] = re.findall(r"API +(http://\S+)/v1/jobs", welcome)
        [self.psql] = re.findall(r"Postgres +(psql .+)", welcome)

    async def call(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}{path}", **arguments) as answer,
        ):
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def type(self, script: str) -> str:
        """Run a script with the psql line as it was printed."""
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self.psql),
            *("-v", "ON_ERROR_STOP=1", "-c", script),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed
        return printed.decode()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            return await self.process.wait()


async def printed(process: asyncio.subprocess.Process, until_line: str) -> str:
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(START_SECONDS):
        while until_line not in text:
            line = (await process.stdout.readline()).decode()
            assert line, f"ended: {text}"
            text += line
    return text


Launch = Callable[[int], Awaitable[asyncio.subprocess.Process]]
StartDev = Callable[[], AbstractAsyncContextManager[Dev]]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Start `tocsin dev` on a port, with a data directory of the test's own."""
    tmp_path.chmod(0o755)

    async def launched(port: int) -> asyncio.subprocess.Process:
        settings = {"TOCSIN_DATA_DIR": str(tmp_path / "data"), "TOCSIN_LOG_LEVEL": "warning"}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "dev", "--port", str(port)),
            env={k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | settings,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    return launched


@pytest.fixture
def start_dev(launch: Launch) -> StartDev:
    """Run `tocsin dev` for a while."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Dev]:
        process = await launch(0)
        try:
            yield Dev(process, await printed(process, "Postgres "))
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                await process.wait()

    return start


async def test_the_first_steps_of_the_readme_work_and_survive_a_restart(
    start_dev: StartDev, sink: Sink
) -> None:
    async with start_dev() as dev:
        job = {"name": "ping", "kind": "http", "target": {"url": sink.url("/ping")}}
        created = await dev.call("POST", "/v1/jobs", json=job | {"every_seconds": 0.5})
        await dev.type(
            f"""insert into tocsin.jobs (kind, target, run_at)
                values ('http', '{{"url": "{sink.url("/hello")}"}}', now() + '1 second')"""
        )

        async def both_called() -> bool:
            return {"/ping", "/hello"} <= {request.path for request in sink.requests}

        await until(both_called, "both jobs called")

        async def both_recorded() -> bool:
            executions = await dev.call("GET", "/v1/executions")
            return len({row["job_id"] for row in executions["items"]}) == 2

        await until(both_recorded, "both are in the history")
        exit_code = await dev.stop()

    assert exit_code == 0
    async with start_dev() as again:
        kept = await again.call("GET", "/v1/jobs/ping")
        assert kept["id"] == created["id"]
        assert "ping" in await again.type("select name from tocsin.jobs")


async def test_a_port_in_use_is_named_with_the_remedy(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await launch(port)
        text, _ = await process.communicate()

    assert process.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in text.decode()
    assert "TOCSIN_PORT" in text.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_one_signal_to_all_its_processes_lets_executions_end(
    processes: Processes, connection: asyncpg.Connection, sink: Sink, number: signal.Signals
) -> None:
    slow = sink.on("/slow", late(3.0, reply(200)))
    dev = await processes.start("dev", "--port", "0", grace_seconds=60)
    await dev.says("connected")
    job_id = await insert_job(connection, target={"url": slow})
    await sink.arrived(1)

    os.killpg(dev.process.pid, number)

    assert await dev.ended() == 0
    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["error"]) == ("succeeded", None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_executions_off(
    processes: Processes, connection: asyncpg.Connection, sink: Sink, number: signal.Signals
) -> None:
    slow = sink.on("/slow", late(100.0, reply(200)))
    dev = await processes.start("dev", "--port", "0", grace_seconds=100)
    await dev.says("connected")
    job_id = await insert_job(connection, target={"url": slow}, timeout_seconds=100)
    await sink.arrived(1)

    dev.send(number)
    await dev.says("draining")
    dev.send(number)

    assert await dev.ended(within=60) == 0
    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["reason"]) == ("cancelled", "drain")


async def test_its_postgres_outlives_what_executes_when_ctrl_c_reaches_all(
    start_dev: StartDev, sink: Sink
) -> None:
    slow = sink.on("/slow", late(3.0, reply(200)))
    async with start_dev() as dev:
        job = {"name": "slow", "kind": "http", "target": {"url": slow}}
        await dev.call("POST", "/v1/jobs", json=job | {"run_at": "2020-01-01T00:00:00Z"})
        await sink.arrived(1)
        os.killpg(dev.process.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            assert await dev.process.wait() == 0

    async with start_dev() as again:
        [execution] = (await again.call("GET", "/v1/executions"))["items"]
        assert execution["outcome"] == "succeeded"
