"""The embedded Postgres keeps its data, its port and its manners."""

import asyncio
import base64
import errno
import os
import pwd
import shlex
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from app.devdb import DevDatabaseFailed, Server, embedded_postgres, places
from app.devdb.cluster import Cluster
from app.devdb.secret_key import kept_key
from tests.support.postgres import throwaway_directory
from tests.support.psql import PsqlFailed, run_psql
from tests.support.waiting import until

SERVE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from app.devdb import embedded_postgres

async def main():
    async with embedded_postgres(Path(sys.argv[1])):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def postmaster(server: Server) -> int:
    """Return the number of Postgres's first process."""
    lines = (server.home / "server" / "data" / "postmaster.pid").read_text("utf-8").splitlines()
    return int(lines[0])


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with throwaway_directory() as directory:
        yield directory


@pytest.fixture
def data_dir(place: Path, request: pytest.FixtureRequest) -> Path:
    """Give a data directory that is not there yet."""
    name: str = request.node.name
    return place / name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(place: Path) -> AsyncIterator[Server]:
    """Give a server that tests only look at."""
    async with embedded_postgres(place / "shared") as server:
        yield server


def answers(server: Server) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(server.url).port)) == 0


def answers_again(server: Server) -> bool:
    try:
        return run_psql(server.url, "select 1") == "1"
    except PsqlFailed:
        return False


async def test_data_and_address_stay_the_same_between_runs(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as server:
        first = server
        run_psql(server.url, "create table kept as select 42 as value")

    async with embedded_postgres(data_dir) as server:
        assert server == first
        assert run_psql(server.url, "select value from kept") == "42"


async def test_nothing_runs_after_the_end_nor_after_an_error(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as server:
        assert answers(server)
    assert not answers(server)

    with suppress(ZeroDivisionError):
        async with embedded_postgres(data_dir) as server:
            _ = 1 / 0
    assert not answers(server)


async def test_a_server_that_is_killed_is_started_again_at_its_address(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as server:
        run_psql(server.url, "create table kept as select 42 as value")
        pid = (server.home / "server" / "data" / "postmaster.pid").read_text("utf-8").split()[0]
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda: asyncio.to_thread(lambda: not answers(server)), "it is gone")
        await until(lambda: asyncio.to_thread(answers_again, server), "it runs again", within=60.0)

        assert run_psql(server.url, "select value from kept") == "42"
    assert not answers(server)


async def test_the_psql_line_can_be_pasted(shared: Server) -> None:
    psql = await asyncio.create_subprocess_exec(
        *shlex.split(shared.psql),
        *("--no-psqlrc", "--tuples-only", "--no-align"),
        *("--command", "select current_user, current_database()"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await psql.communicate()

    assert printed == b"tocsin|tocsin\n"


async def test_only_this_machine_and_only_with_the_password(shared: Server) -> None:
    listens = run_psql(shared.url, "show listen_addresses; show unix_socket_directories")

    assert listens == "127.0.0.1\n"
    assert (shared.home / "server" / "password").stat().st_mode & 0o077 == 0
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(shared.url, password="a guess")


def test_what_was_committed_is_on_the_disk(shared: Server) -> None:
    durable = run_psql(shared.url, "show fsync; show full_page_writes; show synchronous_commit")

    assert durable == "on\non\non"


def test_ctrl_c_in_a_terminal_does_not_reach_postgres(shared: Server) -> None:
    assert os.getsid(postmaster(shared)) != os.getsid(0)


async def test_a_second_one_is_told_who_uses_the_data(shared: Server) -> None:
    with pytest.raises(DevDatabaseFailed, match=rf"process {os.getpid()}, .*TOCSIN_DATA_DIR"):
        async with embedded_postgres(shared.home):
            pass

    assert answers(shared)


def test_a_script_in_psql_stops_at_its_first_error(shared: Server) -> None:
    with pytest.raises(PsqlFailed, match="division by zero"):
        run_psql(shared.url, "select 1 / 0; create table made ()")

    assert run_psql(shared.url, "select to_regclass('made') is null") == "t"


async def test_a_server_that_a_killed_process_left_is_taken_over(data_dir: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE_UNTIL_KILLED, data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert await process.stdout.readline() == b"up\n"
    left = Cluster(bin=places.embedded_programs(), home=data_dir).server()
    run_psql(left.url, "create table before_the_kill ()")
    pid = postmaster(left)
    process.send_signal(signal.SIGKILL)
    await process.communicate()

    async with embedded_postgres(data_dir) as server:
        assert postmaster(server) == pid
        assert run_psql(server.url, "select count(*) from before_the_kill") == "0"
    assert not answers(server)


async def test_a_port_that_was_taken_meanwhile_is_replaced_for_good(data_dir: Path) -> None:
    async with embedded_postgres(data_dir):
        pass
    port = int((data_dir / "port").read_text("ascii"))

    with socket.create_server(("127.0.0.1", port)):
        async with embedded_postgres(data_dir) as moved:
            assert f":{port}/" not in moved.url
    async with embedded_postgres(data_dir) as later:
        assert later.url == moved.url


async def test_data_of_another_major_version_is_refused_and_left_alone(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as server:
        pass
    made_by = server.home / "server" / "data" / "PG_VERSION"
    made_by.write_text("13\n", "ascii")

    with pytest.raises(DevDatabaseFailed, match=r"PostgreSQL 13, and this is PostgreSQL 18"):
        async with embedded_postgres(data_dir):
            pass

    made_by.write_text("18\n", "ascii")
    async with embedded_postgres(data_dir) as server:
        assert run_psql(server.url, "select 1") == "1"


async def test_a_first_start_that_was_cut_short_is_made_anew(data_dir: Path) -> None:
    half_made = data_dir / "server" / "half-made"
    half_made.mkdir(parents=True)
    half_made.joinpath("PG_VERSION").write_text("18\n", "ascii")

    async with embedded_postgres(data_dir) as server:
        assert run_psql(server.url, "select 1") == "1"


async def test_a_failed_start_ends_with_what_postgres_logged(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as server:
        pass
    with (server.home / "server" / "data" / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("shared_buffers = 'plenty'\n")

    with pytest.raises(DevDatabaseFailed, match=r'(?s)pg_ctl failed.*"shared_buffers": "plenty"'):
        async with embedded_postgres(data_dir):
            pass


async def test_a_directory_that_cannot_be_made_is_named() -> None:
    not_in_a_directory = Path(__file__) / "data"

    with pytest.raises(DevDatabaseFailed, match=r"test_devdb\.py/data: .*TOCSIN_DATA_DIR"):
        async with embedded_postgres(not_in_a_directory):
            pass


async def test_without_the_wheel_it_says_what_to_install(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "find_spec", lambda _: None)

    with pytest.raises(places.ProgramsMissing, match=r"tocsin\[embedded\].*TOCSIN_DATABASE_URL"):
        async with embedded_postgres(data_dir):
            pass


@pytest.fixture
def as_root(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Postgres run as another user, as it does for root; return the place for that."""
    monkeypatch.setattr(places, "postgres_user", lambda: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(places, "ROOTS_PLACE", data_dir / "place")
    return data_dir / "place"


def test_root_keeps_data_elsewhere_if_postgres_cannot_reach_it(
    data_dir: Path, as_root: Path
) -> None:
    data_dir.mkdir()
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)

    home = places.reachable_home(closed / "wanted")

    assert home.parent == as_root
    assert home == places.reachable_home(closed / "wanted")
    assert home != places.reachable_home(closed / "another")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert list(closed.iterdir()) == []


@pytest.mark.usefixtures("as_root")
def test_root_keeps_data_where_it_belongs_if_postgres_can_reach_it(data_dir: Path) -> None:
    previous = os.umask(0o077)
    try:
        home = places.reachable_home(data_dir / "wanted")
    finally:
        os.umask(previous)

    assert home == data_dir / "wanted"
    assert places.open_to_postgres(home)


def test_root_copies_programs_that_postgres_cannot_reach(data_dir: Path, as_root: Path) -> None:
    data_dir.mkdir()
    site_packages = data_dir / "closed"
    programs = site_packages / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    programs.joinpath("postgres").write_text("the server", "ascii")
    programs.joinpath("postgres").chmod(0o700)
    libraries = site_packages / "embedded_postgres.libs"
    libraries.mkdir()
    libraries.joinpath("libpq.so").touch(mode=0o600)
    site_packages.chmod(0o700)

    copied = places.reachable_programs(programs)

    assert copied.is_relative_to(as_root)
    assert copied.joinpath("postgres").read_text("ascii") == "the server"
    assert copied.joinpath("postgres").stat().st_mode & 0o777 == 0o755
    library = copied / "../../../embedded_postgres.libs/libpq.so"
    assert library.stat().st_mode & 0o777 == 0o644
    assert places.open_to_postgres(copied)
    assert places.reachable_programs(programs) == copied


@pytest.mark.parametrize(
    "script", [None, "#!/bin/sh\nexit 1\n"], ids=["no psql", "a wrapper of nothing"]
)
def test_the_psql_line_has_our_own_psql_where_the_system_has_none(
    shared: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script is not None:
        tmp_path.joinpath("psql").write_text(script, "ascii")
        tmp_path.joinpath("psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    line = Cluster(bin=shared.bin, home=shared.home).server().psql

    assert line.startswith(f"{shared.bin}/psql postgresql://")


def test_a_key_is_kept_as_a_whole_or_not_at_all(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    home = places.reachable_home(data_dir)
    with monkeypatch.context() as disk:
        disk.setattr("app.devdb.secret_key.os.fsync", full)
        with pytest.raises(DevDatabaseFailed, match=r"No space left.*set TOCSIN_DATA_DIR"):
            kept_key(data_dir)
    assert list(home.iterdir()) == []

    key = kept_key(data_dir)

    assert key is not None
    assert len(base64.b64decode(key)) == 32
    assert kept_key(data_dir) == key
    assert [(one.name, one.stat().st_mode & 0o777) for one in home.iterdir()] == [
        ("secret-key", 0o600)
    ]


def test_all_that_look_for_a_key_at_once_have_the_same(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(length: int) -> bytes:
        time.sleep(0.02)
        return os.urandom(length)

    monkeypatch.setattr("app.devdb.secret_key.secrets.token_bytes", slowly)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(kept_key, [data_dir] * 8))

    assert len(keys) == 1
    assert None not in keys


def test_an_empty_file_of_a_key_is_replaced_although_there_are_data(data_dir: Path) -> None:
    home = places.reachable_home(data_dir)
    (home / "server").mkdir()
    assert kept_key(data_dir) is None
    (home / "secret-key").touch()

    key = kept_key(data_dir)

    assert key
    assert (home / "secret-key").read_text("ascii") == f"{key}\n"
