"""The first steps of the README: a job over REST and one in psql, both called and recorded."""

import asyncio
import base64
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import asyncpg
import pytest

from app.devdb.places import reachable_home
from tests.support.builders import execution_rows, insert_job
from tests.support.cluster import ROOT, Processes
from tests.support.rabbit import free_ports
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until
from tests.support.walkthrough import Walkthrough

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


class Launch(Protocol):
    """Starts `tocsin dev` on a port, with more variables of the environment."""

    async def __call__(self, port: int, **variables: str) -> asyncio.subprocess.Process: ...


class StartDev(Protocol):
    """Runs `tocsin dev` for a while, with more variables of the environment."""

    def __call__(self, **variables: str) -> AbstractAsyncContextManager[Dev]: ...


def environment(home: Path) -> dict[str, str]:
    """Return the variables with which `tocsin dev` keeps its data in `home`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return ours | {"TOCSIN_DATA_DIR": str(home / "data"), "TOCSIN_LOG_LEVEL": "warning"}


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Start `tocsin dev` on a port, with a data directory of the test's own."""
    tmp_path.chmod(0o755)

    async def launched(port: int, **variables: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "dev", "--port", str(port)),
            env=environment(tmp_path) | variables,
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
    async def start(**variables: str) -> AsyncIterator[Dev]:
        process = await launch(0, **variables)
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


@pytest.mark.parametrize(("page", "blocks"), [("README.md", 4), ("docs/quickstart.md", 6)])
async def test_a_page_of_first_steps_can_be_followed_to_its_end(
    page: str, blocks: int, start_dev: StartDev, tmp_path: Path
) -> None:
    [receiver] = free_ports(1)
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "tocsin").symlink_to(Path(sys.executable).parent / "tocsin")
    async with start_dev() as dev:
        here = {
            "http://127.0.0.1:8080": dev.url,
            "127.0.0.1:9000": f"127.0.0.1:{receiver}",
            '"127.0.0.1", 9000': f'"127.0.0.1", {receiver}',
        }
        walk = Walkthrough(page, folder=folder, variables={"TOCSIN_URL": dev.url}, here=here)
        walk.psql = dev.psql
        first, *walk.blocks = walk.blocks[:blocks]
        printed = await asyncio.to_thread(walk.follow)

        async def called() -> bool:
            executions = await dev.call("GET", "/v1/executions?outcome=succeeded")
            return len({row["job_id"] for row in executions["items"]}) >= 2

        await until(called, "two jobs called the receiver")

    assert first == ("sh", "make run\n")
    assert any('"outcome":"succeeded"' in text for text in printed)
    assert any("ping" in text and "nightly-report" in text for text in printed)


async def test_a_port_in_use_is_named_with_the_remedy(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await launch(port)
        text, _ = await process.communicate()

    assert process.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in text.decode()
    assert "TOCSIN_PORT" in text.decode()


async def pasted(command: str, **variables: str) -> tuple[int | None, str]:
    """Run a command line; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_shell(
        command,
        env=variables,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(START_SECONDS):
        text, _ = await process.communicate()
    return process.returncode, text.decode()


async def test_what_it_says_of_a_lost_secret_key_mends_it(
    start_dev: StartDev, tmp_path: Path
) -> None:
    async with start_dev(TOCSIN_SECRET_KEYS=base64.b64encode(b"k" * 32).decode()) as dev:
        await dev.call("PUT", "/v1/secrets/token", json={"value": "hidden"})
    # As `make run` calls it, for someone whose PATH does not lead to it.
    place = Path(sys.executable).parent
    own = environment(tmp_path) | {"PATH": "/usr/bin:/bin"}

    code, said = await pasted(f"{place}/tocsin dev --port 0", **own)
    assert (code, len(said.splitlines())) == (1, 1), said
    listing, delete, _ = re.findall("`(.+?)`", said)
    assert (await pasted(listing, **own))[1].split()[2] == "token"
    code, said = await pasted(delete.replace("NAME", "token"), **own)

    assert (code, said) == (0, "deleted token\n")
    async with start_dev() as again:
        assert (await again.call("GET", "/v1/secrets"))["items"] == []


async def test_secrets_are_encrypted_by_a_key_that_is_kept_beside_the_data(
    start_dev: StartDev, tmp_path: Path
) -> None:
    own = environment(tmp_path)
    async with start_dev() as dev:
        code, said = await pasted(
            f"echo sesame | {sys.executable} -m app dev secrets set token", **own
        )
        stored = await dev.type("select value from tocsin.secrets")
    async with start_dev() as again:
        listed = await again.call("GET", "/v1/secrets")

    assert (code, said) == (0, "created token\n")
    assert "sesame" not in stored
    assert [one["name"] for one in listed["items"]] == ["token"]
    key = reachable_home(tmp_path / "data") / "secret-key"
    assert key.stat().st_mode & 0o077 == 0


async def test_a_command_reaches_its_postgres_beside_it(
    start_dev: StartDev, tmp_path: Path
) -> None:
    program = f"{sys.executable} -m app dev"
    async with start_dev() as dev:
        made = await pasted(f"{program} keys create me --scope admin", **environment(tmp_path))
        headers = {"Authorization": f"Bearer {made[1].split()[0]}"}
        await dev.call("GET", "/v1/keys", headers=headers)
    code, listed = await pasted(f"{program} keys list", **environment(tmp_path))

    assert (made[0], code) == (0, 0)
    assert listed.endswith("me\n")


async def test_what_it_says_of_other_machines_without_a_key_can_be_done(
    tmp_path: Path,
) -> None:
    program = f"{sys.executable} -m app dev --port 0"
    code, said = await pasted(program, **environment(tmp_path) | {"TOCSIN_HOST": "0.0.0.0"})  # noqa: S104 - what is refused

    assert code == 1
    assert "`tocsin dev keys create NAME --scope admin`" in said


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
