"""Instances and APIs as processes of their own, started as they are shipped, to be killed."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

from msgspec import DecodeError, json

from app.devdb.cluster import Cluster
from tests.support.roles import as_role
from tests.support.waiting import patience

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 20.0
ROLES = {"api": "api", "scheduler": "instance"}
"""The role, among those of db/roles.sql, that each command is for."""
TROUBLES = {"connected", "disconnected", "faulted", "lease_lost"}


class Process:
    """One process of Tocsin and the lines that the process logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.text: list[str] = []
        """Lines that are not ours: tracebacks."""
        self.news = asyncio.Condition()
        self.reading = asyncio.create_task(self.read(), name="read log")

    @classmethod
    async def start(cls, *arguments: str, tree: Path = ROOT, **settings: object) -> Self:
        """Run `python -m app ARGUMENTS` of a tree; `settings` become TOCSIN_ variables."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        variables = {f"TOCSIN_{name.upper()}": str(value) for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", *arguments),
            env=ours | {"TOCSIN_LOG_FORMAT": "json"} | variables,
            cwd=tree,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process)

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self.news:
                try:
                    self.lines.append(json.decode(line))
                except DecodeError:
                    self.text.append(line.decode(errors="replace").rstrip())
                self.news.notify_all()
        async with self.news:
            self.news.notify_all()

    def said(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of this event whose fields have these values."""
        return [
            line
            for line in self.lines
            if line.get("event") == event
            and all(line.get(name) == value for name, value in fields.items())
        ]

    async def says(
        self, event: str, *, count: int = 1, within: float = START_SECONDS, **fields: object
    ) -> None:
        """Wait until the process has logged `count` such lines.

        Raises:
            AssertionError: too few lines came in time, or the process ended; has the log's tail.
        """
        await self.until(lambda: len(self.said(event, **fields)) >= count, event, within=within)

    async def until(self, condition: Callable[[], bool], what: str, *, within: float) -> None:
        try:
            async with patience(within), self.news:
                while not condition():
                    assert not self.reading.done(), f"ended without {what}: {self.tail()}"
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {within:g} s: {self.tail()}") from None

    def tail(self) -> str:
        """Return the end of the process's log, and all lines about the database."""
        troubles = [one for one in self.lines if one["event"] in TROUBLES]
        return "\n".join([*map(str, troubles), *map(str, self.lines[-15:]), *self.text[-30:]])

    def resident_kb(self) -> int:
        """Return the resident memory of the process, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    async def kill(self) -> None:
        """Kill the process at once (SIGKILL)."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.reading

    async def ended(self, *, within: float = STOP_SECONDS) -> int:
        """Wait for the process's end; return the exit code."""
        async with patience(within):
            code = await self.process.wait()
            await self.reading
        return code

    async def terminate(self) -> int:
        """Tell the process to stop (SIGTERM) and wait for its end; return the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()


class Processes:
    """The processes of one test; those that still run at its end are killed.

    `in_roles`: each logs in to Postgres as its role, in place of the user that the address names.
    """

    def __init__(self, *, in_roles: bool = False, **settings: object) -> None:
        self.in_roles = in_roles
        self.settings = settings
        self.started: list[Process] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        try:
            yield self
        finally:
            for one in self.started:
                await one.kill()

    async def instance(self, *, tree: Path = ROOT, **settings: object) -> Process:
        """Start an instance and wait until it listens and has looked."""
        process = await self.start("scheduler", tree=tree, **settings)
        await process.says("connected")
        return process

    async def instances(self, count: int, *, tree: Path = ROOT) -> list[Process]:
        """Start several at once."""
        return list(await asyncio.gather(*(self.instance(tree=tree) for _ in range(count))))

    async def start(self, *arguments: str, tree: Path = ROOT, **settings: object) -> Process:
        settings = self.settings | settings
        if self.in_roles and arguments[0] in ROLES:
            url = str(settings["database_url"])
            settings["database_url"] = as_role(ROLES[arguments[0]], url)
        process = await Process.start(*arguments, tree=tree, **settings)
        self.started.append(process)
        return process

    async def restarted(self, process: Process) -> Process:
        """Kill an instance and start another in its place."""
        await process.kill()
        return await self.instance()


def kill_postgres(cluster: Cluster) -> None:
    """Kill the whole server at once (SIGKILL), as the kernel's out-of-memory killer may."""
    postmaster = int((cluster.data / "postmaster.pid").read_text("utf-8").splitlines()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text("ascii").split()
    pids = [postmaster, *map(int, children)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + STOP_SECONDS
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < until, "killed processes of Postgres live on"
        time.sleep(0.01)
    # To the next postmaster a zombie that was not reaped yet looks alive.
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)


def lives(pid: int) -> bool:
    """Return whether a process is alive; a zombie, which holds no resources, is not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
