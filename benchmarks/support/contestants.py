"""Who is measured: the product and its peers, all driven in the same way."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import asyncpg
from msgspec import Struct

from benchmarks.support.postgres import Postgres
from benchmarks.support.processes import LOGS, PEERS, ROOT, Running, read_line, running, tocsin

ACTION_SECONDS = 120.0


class Job(Struct, frozen=True):
    """What to enqueue: a request to the receiver."""

    number: int
    at: float | None = None
    """Seconds since the epoch; None: at once."""


Insert = Callable[[int], Awaitable[float]]
"""Enqueue an immediate job by its number; returns the instant just before, epoch seconds."""


class Contestant(Protocol):
    """Something that carries out jobs from Postgres."""

    name: str
    url: str
    """Its database, once prepared."""
    concurrency: int

    async def prepare(self, postgres: Postgres, base_url: str) -> None:
        """Make a database with its schema; its requests will go to `base_url` + number."""
        ...

    async def enqueue(self, jobs: Sequence[Job]) -> None:
        """Put jobs into its database in the fastest way it has."""
        ...

    def working(self, *, copies: int = 1) -> AbstractContextManager[Running]:
        """Run its workers."""
        ...

    def inserting(self, workers: Running) -> AbstractAsyncContextManager[Insert]:
        """Keep open what enqueues single jobs."""
        ...


class Tocsin:
    """The product, as it is shipped."""

    def __init__(self, *, concurrency: int = 100, name: str = "tocsin") -> None:
        self.name = name
        self.concurrency = concurrency
        self.url = ""
        self.base_url = ""

    async def prepare(self, postgres: Postgres, base_url: str) -> None:
        """See `Contestant`."""
        self.url = await postgres.fresh(self.name, tocsin=True)
        self.base_url = base_url

    async def enqueue(self, jobs: Sequence[Job]) -> None:
        """See `Contestant`."""
        now = datetime.now(UTC)
        records = [
            (
                "http",
                json.dumps({"url": f"{self.base_url}{job.number}"}),
                now if job.at is None else datetime.fromtimestamp(job.at, UTC),
            )
            for job in jobs
        ]
        connection = await asyncpg.connect(self.url)
        await connection.copy_records_to_table(
            "jobs", schema_name="tocsin", columns=["kind", "target", "run_at"], records=records
        )
        await connection.close()

    def working(
        self, *, copies: int = 1, under: Sequence[str] = ()
    ) -> AbstractContextManager[Running]:
        """See `Contestant`; `under`: the program, with its options, that runs each instance."""
        return tocsin(self.url, copies=copies, concurrency=self.concurrency, under=under)

    @asynccontextmanager
    async def inserting(self, workers: Running) -> AsyncIterator[Insert]:
        """See `Contestant`."""
        del workers
        connection = await asyncpg.connect(self.url)
        statement = await connection.prepare(
            "insert into tocsin.jobs (kind, target, run_at) values ('http', $1, now())"
        )

        async def insert(number: int) -> float:
            target = json.dumps({"url": f"{self.base_url}{number}"})
            started = time.time()
            await statement.fetch(target)
            return started

        yield insert
        await connection.close()


class Peer:
    """A peer, driven through a script that runs in the peer's own environment."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        concurrency: int,
        inserts_in_worker: bool = False,
        most_copies: int = 4,
    ) -> None:
        self.name = name
        self.command = command
        self.concurrency = concurrency
        self.inserts_in_worker = inserts_in_worker
        """It keeps no watch on its table: only its own process can make it see a new job."""
        self.most_copies = most_copies
        self.url = ""
        self.base_url = ""

    def line(self, action: str) -> list[str]:
        """Return the command line for one of the script's actions."""
        command = [str(part) for part in self.command]
        return [*command, action, self.url, self.base_url, str(self.concurrency)]

    async def prepare(self, postgres: Postgres, base_url: str) -> None:
        """See `Contestant`."""
        self.url = await postgres.fresh(self.name)
        self.base_url = base_url
        await self.do("setup")

    async def enqueue(self, jobs: Sequence[Job]) -> None:
        """See `Contestant`."""
        lines = "\n".join(json.dumps([job.number, job.at]) for job in jobs)
        await self.do("enqueue", lines)

    async def do(self, action: str, given: str = "") -> None:
        """Run one of the script's actions to its end.

        Raises:
            RuntimeError: it failed or took longer than `ACTION_SECONDS`.
        """
        process = await asyncio.create_subprocess_exec(
            *self.line(action), cwd=ROOT, stdin=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(ACTION_SECONDS):
                await process.communicate(given.encode())
        except TimeoutError:
            raise RuntimeError(f"{self.name}: {action} took too long") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"{self.name}: {action} failed")

    def working(self, *, copies: int = 1) -> AbstractContextManager[Running]:
        """See `Contestant`."""
        log = LOGS / f"{self.name.replace(' ', '-')}.log"
        return running(self.line("work"), copies=copies, ready="ready", log=log)

    @asynccontextmanager
    async def inserting(self, workers: Running) -> AsyncIterator[Insert]:
        """See `Contestant`."""

        async def through(process: subprocess.Popen[str], number: int) -> float:
            if process.stdin is None:
                raise RuntimeError(f"{process.args!r} was started without a pipe")
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            return int(read_line(process, seconds=10.0)) / 1e9

        if self.inserts_in_worker:
            yield lambda number: through(workers.processes[0], number)
            return
        with running(self.line("insert"), ready="ready") as inserter:
            yield lambda number: through(inserter.processes[0], number)


def known_peers() -> dict[str, Peer]:
    """Every peer that can be measured, by name."""
    scripts = ROOT / "benchmarks" / "peers"
    python = PEERS / "py" / "bin" / "python"
    peers = [
        Peer("procrastinate", [python, scripts / "run_procrastinate.py"], concurrency=100),
        Peer("pgqueuer", [python, scripts / "run_pgqueuer.py"], concurrency=100),
        Peer(
            "apscheduler 3",
            [python, scripts / "run_apscheduler3.py"],
            concurrency=100,
            inserts_in_worker=True,
            most_copies=1,
        ),
        Peer("graphile-worker", ["node", scripts / "node" / "graphile_worker.mjs"], concurrency=24),
        Peer("pg-boss", ["node", scripts / "node" / "pg_boss.mjs"], concurrency=100),
        Peer("river", [PEERS / "go" / "river"], concurrency=100),
    ]
    return {peer.name: peer for peer in peers}


def chosen(names: str) -> list[Contestant]:
    """Return the product and the named peers, separated by commas; `all` or `none`.

    Exits with what to do where a peer is not installed or not known.
    """
    peers = known_peers()
    wanted = {"all": list(peers), "none": []}.get(names, names.split(","))
    if unknown := [name for name in wanted if name not in peers]:
        sys.exit(f"unknown peers {unknown}; there are {', '.join(peers)}")
    if wanted and not (PEERS / "py").exists():
        sys.exit(
            "peers are not installed: run `python -m benchmarks.peers.install`, or --peers none"
        )
    return [Tocsin(), *(peers[name] for name in wanted)]
