"""A Postgres of the benchmarks' own, with the durability that it has by default."""

import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Self, TypedDict

import asyncpg
import psutil

from app.db import migrate
from app.devdb.places import (
    embedded_programs,
    give_to_postgres,
    make_open_directory,
    postgres_user,
    reachable_programs,
)

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # fsync, full_page_writes, synchronous_commit and shared_buffers stay as they come. Checkpoints
    # are kept from falling into one contestant's run and not into the other's.
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",
    "pg_stat_statements.max": "2000",
}


class Postgres:
    """A running server; every contestant gets a database of its own on it."""

    def __init__(self, programs: Path, home: Path) -> None:
        self.programs = programs
        self.home = home
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls, *, programs: Path | None = None, **settings: str) -> Iterator[Self]:
        """Make a server in a directory of its own, run it, and remove it afterwards."""
        home = Path(mkdtemp(prefix="tocsin-bench-", dir="/var/tmp"))
        make_open_directory(home)
        give_to_postgres(home)
        server = cls(programs or reachable_programs(embedded_programs()), home)
        try:
            server.start(SETTINGS | settings)
            yield server
        finally:
            server.stop()
            shutil.rmtree(home, ignore_errors=True)

    @property
    def data(self) -> Path:
        """The directory of its data, in which it may write."""
        return self.home / "data"

    def start(self, settings: dict[str, str]) -> None:
        """Initialise and start, and wait until it accepts connections."""
        data = str(self.data)
        self.run("initdb", "-D", data, "-U", "tocsin", "-A", "trust", "-E", "UTF8", "--no-locale")
        self.serve(settings)

    def serve(self, settings: dict[str, str], *, under: Sequence[str] = ()) -> None:
        """Start, `under` a program if one is given, and wait until it accepts connections."""
        options = [f"-c{name}={value}" for name, value in settings.items()]
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *under,
                    self.programs / "postgres",
                    "-D",
                    self.data,
                    "-p",
                    str(self.port),
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                **as_postgres(),
            )
        self.run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-t", "30", retries=1000)

    def stop(self) -> None:
        """Stop at once; nobody needs its data any more."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown: sessions are ended
            self.process.wait(60)

    def run(self, program: str, *arguments: str, retries: int = 0) -> str:
        """Run one of Postgres's own programs and return what it printed."""
        while True:
            done = subprocess.run(
                [self.programs / program, *arguments],
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                **as_postgres(),
            )
            if done.returncode == 0:
                return done.stdout
            if retries == 0:
                raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
            retries -= 1

    def url(self, database: str) -> str:
        """Return where `database` is."""
        return f"postgresql://tocsin@127.0.0.1:{self.port}/{database}"

    async def fresh(self, name: str, *, tocsin: bool = False) -> str:
        """Create an empty database and return its URL; with `tocsin`, our schema is in it."""
        database = f"{name.replace('-', '_').replace(' ', '_').lower()}_{secrets.token_hex(3)}"
        admin = await asyncpg.connect(self.url("postgres"))
        await admin.execute(f'create database "{database}"')
        await admin.close()
        url = self.url(database)
        if tocsin:
            await migrate.migrate(url)
        connection = await asyncpg.connect(url)
        await connection.execute("create extension if not exists pg_stat_statements")
        await connection.close()
        return url

    def cpu_seconds(self) -> float:
        """CPU time of the server and all its backends, those that have ended included."""
        assert self.process is not None
        postmaster = psutil.Process(self.process.pid)
        own = postmaster.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in postmaster.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return float(total)


async def statements(url: str) -> list[dict[str, object]]:
    """Return what pg_stat_statements knows of this database, the costliest first."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        """select query, calls, rows, total_exec_time as total_ms, mean_exec_time as mean_ms,
                  shared_blks_hit + shared_blks_read as blocks, wal_bytes::float8 as wal_bytes
           from pg_stat_statements
           where dbid = (select oid from pg_database where datname = current_database())
           order by total_exec_time desc"""
    )
    await connection.close()
    return [dict(row) for row in rows]


async def reset_statements(url: str) -> None:
    """Let pg_stat_statements count from nought."""
    connection = await asyncpg.connect(url)
    await connection.execute("select pg_stat_statements_reset()")
    await connection.close()


class RunAs(TypedDict, total=False):
    """Whom to run a program as, as arguments of `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]


def as_postgres() -> RunAs:
    """Say whom to run Postgres as."""
    user = postgres_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
