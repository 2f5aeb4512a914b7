"""A Postgres server for development and tests: initdb, start, stop.

The home directory of a server has

    port            the latest port, kept so that a command line with psql stays valid
    server/         owned by the user that Postgres runs as
        data/       made by initdb
        password    of the role `tocsin`
        log         of the latest start
"""

import secrets
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from app.devdb.places import give_to_postgres, postgres_user
from app.errors import AppError

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # A socket's path may have 107 bytes at most, which a data directory easily exceeds.
    "unix_socket_directories": "",
    "shared_preload_libraries": "pg_stat_statements",
}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""The whole environment of Postgres's programs: PGDATA, PGOPTIONS and others would mislead them."""

COMMAND_SECONDS = 120
"""How long pg_ctl waits for Postgres to start or stop."""
PORTS_TRIED = 3
"""How many ports a start tries: a port that was free may be another server's a moment later."""
PORT_TAKEN = "could not create any TCP/IP sockets"
"""What Postgres logs where its port is taken."""
LOG_LINES = 15
"""How many lines of Postgres's log the message of a failure ends with."""


class DevDatabaseFailed(AppError):
    """The embedded Postgres could not be made, started or stopped; the message says why."""


class Server(Struct, frozen=True, kw_only=True):
    """How to connect to a running server."""

    url: str
    psql: str
    """A command line that opens the database in psql, ready to paste."""
    bin: Path
    home: Path


class Cluster(Struct, frozen=True, kw_only=True):
    """A server: its programs in `bin`, and all its files under `home`."""

    bin: Path
    home: Path

    @property
    def data(self) -> Path:
        return self.home / "server" / "data"

    @property
    def log(self) -> Path:
        return self.home / "server" / "log"

    def server(self) -> Server:
        port = (self.home / "port").read_text("ascii")
        password = (self.home / "server" / "password").read_text("ascii")
        url = f"postgresql://tocsin:{password}@127.0.0.1:{port}/tocsin"
        psql = "psql" if system_has_psql() else shlex.quote(str(self.bin / "psql"))
        return Server(url=url, psql=f"{psql} {url}", bin=self.bin, home=self.home)

    def check_version(self) -> None:
        """Refuse data of another major version of Postgres.

        Raises:
            DevDatabaseFailed: the data is of another version; says what to do.
        """
        made_by = self.data / "PG_VERSION"
        if not made_by.exists():
            return
        theirs = made_by.read_text("ascii").strip()
        ours = self.run("postgres", "--version").split()[2].split(".")[0]
        if theirs != ours:
            raise DevDatabaseFailed(
                f"{self.home} holds data of PostgreSQL {theirs}, and this is PostgreSQL {ours}; "
                f"move it away to start anew, or dump it with PostgreSQL {theirs} first"
            )

    def create(self, settings: Mapping[str, str]) -> None:
        """Make an empty database `tocsin`, in place of what an interrupted attempt left."""
        self.data.parent.mkdir(mode=0o700, exist_ok=True)
        give_to_postgres(self.data.parent)
        half_made = self.data.with_name("half-made")
        shutil.rmtree(half_made, ignore_errors=True)
        password = self.data.with_name("password")
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16), "ascii")
        give_to_postgres(password)
        self.run(
            *("initdb", "--pgdata", half_made, "--username=tocsin", f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"),
            *(["--no-sync"] if settings.get("fsync") == "off" else []),
        )
        with (half_made / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.run(
            *("postgres", "--single", "-D", half_made, "postgres"), given="create database tocsin"
        )
        half_made.rename(self.data)

    def start(self, preferred_port: int) -> None:
        """Start the server on its latest port, else on `preferred_port`, else on any free port.

        Raises:
            DevDatabaseFailed: the server does not start; has the end of its log.
        """
        if not self.data.exists():
            self.create(SETTINGS)
        last = self.home / "port"
        for left in reversed(range(PORTS_TRIED)):
            port = free_port(int(last.read_text("ascii")) if last.exists() else preferred_port)
            last.write_text(str(port), "ascii")
            self.log.unlink(missing_ok=True)
            try:
                self.control("start", "-l", self.log, "-o", f"-p {port}")
            except DevDatabaseFailed as error:
                if not left or PORT_TAKEN not in str(error):
                    raise
            else:
                return

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server if it runs; `immediate` is like a crash."""
        if self.is_running():
            self.control("stop", "-m", mode)

    def is_running(self) -> bool:
        """Return whether the server runs and accepts connections.

        The process id in its data does not suffice: after a crash of the machine, another process
        can have that id.
        """
        try:
            self.control("status")
        except DevDatabaseFailed:
            return False
        return self.answers()

    def answers(self) -> bool:
        """Return whether connections are accepted at the port that the server has had last."""
        try:
            port = int((self.data / "postmaster.pid").read_text("utf-8").splitlines()[3])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except (OSError, IndexError):
            return False
        return True

    def control(self, action: str, *arguments: str | Path) -> None:
        self.run("pg_ctl", action, "-D", self.data, "-t", str(COMMAND_SECONDS), *arguments)

    def run(self, program: str, *arguments: str | Path, given: str = "") -> str:
        """Run one of Postgres's programs, not as root, and return its output.

        The program has a session of its own, so that Ctrl-C in a terminal does not reach it.
        """
        user = postgres_user()
        try:
            return subprocess.run(  # noqa: S603 - a program of the wheel, by its full path
                [self.bin / program, *arguments],
                input=given,
                env=ENVIRONMENT,
                cwd=self.home,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
                start_new_session=True,
                timeout=2 * COMMAND_SECONDS,
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or str(error)
            logged = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
            lines = [*said.splitlines(), *logged.splitlines()[-LOG_LINES:]]
            raise DevDatabaseFailed("\n".join([f"{program} failed:", *lines])) from error


def system_has_psql() -> bool:
    """Return whether `psql` runs; Debian's is a wrapper, which may be there without psql itself."""
    try:
        subprocess.run(["psql", "--version"], capture_output=True, check=True, timeout=10)  # noqa: S607 - the one that a person would run
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def free_port(preferred: int) -> int:
    """Return the preferred port if it is free, else a free port that the system picks."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Postgres does
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
