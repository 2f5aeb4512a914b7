"""A real Postgres for tests, and a fresh database for each of them.

The server comes from `TEST_DATABASE_URL`, else from Docker, else is started here: the embedded
one and the majors that this machine has installed. `TEST_POSTGRES` picks one of several sources
by name (`system-15`, say) for tests that run on one only.
"""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from msgspec import Struct
from testcontainers.community.postgres import PostgresContainer

from app.devdb.cluster import SETTINGS, Cluster
from app.devdb.places import embedded_programs, reachable_programs
from tests.support.engine import docker_has
from tests.support.psql import run_psql
from tests.support.roles import LOGINS

SQL = Path(__file__).parents[2] / "db"
SCHEMA = (SQL / "schema.sql", SQL / "triggers.sql")
DAY_BEFORE = """
do $$
declare
    newest text;
    earlier date;
begin
    select (array_agg(partition order by starts_at desc))[1],
            min(starts_at at time zone 'UTC')::date - 1
        into newest, earlier
        from tocsin.partitions() where not is_default;
    execute format('drop table tocsin.%I', newest);
    perform tocsin.add_partition(earlier);
end
$$
"""
"""Moves the week that has partitions a day back, as if midnight (UTC) had passed since."""
PORTS = range(20_000, 32_000)
"""Ports below those of outgoing connections, so that a server's port is free when it restarts."""

ROOM_BYTES = 4 * 2**30
SYSTEM_SERVERS = Path("/usr/lib/postgresql")
SUPPORTED = range(14, 19)
FIRST_WITH_STRATEGIES = 15_00_00
DOCKER_MAJORS = ("18", "14")

TEST_SETTINGS = SETTINGS | {
    # These guard against the loss of power or of the kernel, which no test brings about; what was
    # committed outlives a killed server all the same.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    # No query of ours may depend on the server's zone; with this one it would show.
    "timezone": "America/St_Johns",
}


class Orders:
    """Gives orders to a server by a connection of its own, in a thread of its own.

    A psql for each database of a test took a third of the time of all tests, and databases are
    dropped while the next test begins.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="orders")
        self.runner = asyncio.Runner()
        self.connection: asyncpg.Connection | None = None

    def send(self, statement: str) -> Future[None]:
        """Have a statement carried out, after those that were sent before."""
        return self.thread.submit(lambda: self.runner.run(self.execute(statement)))

    async def execute(self, statement: str) -> None:
        if self.connection is None or self.connection.is_closed():
            self.connection = await asyncpg.connect(self.url)
        await self.connection.execute(statement)

    async def disconnect(self) -> None:
        if self.connection is not None:
            await self.connection.close()

    def close(self) -> None:
        """Carry out what was sent, and end the connection and the thread."""
        self.thread.submit(lambda: self.runner.run(self.disconnect())).result()
        self.thread.submit(self.runner.close).result()
        self.thread.shutdown()


class PostgresServer(Struct, frozen=True, kw_only=True):
    """A server that tests share; each has a database of its own on it."""

    name: str
    """Where it comes from: `given`, `docker-18`, `embedded`, `system-15`."""
    url: str
    """The database to give orders from, as a superuser."""
    template: str
    """The database that is copied: schema and triggers as made the day before, no rows."""
    how: str
    """How: by its files, which takes three quarters of the time, where Postgres lets one choose."""
    orders: Orders

    @contextmanager
    def database(self) -> Iterator[str]:
        """Have a copy of the template for a while, by its URL."""
        name = f"test_{uuid4().hex}"
        self.orders.send(f"create database {name} template {self.template}{self.how}").result()
        try:
            yield url_of(self.url, name)
        finally:
            self.orders.send(f"drop database {name} with (force)")


def url_of(server: str, database: str) -> str:
    return urlsplit(server)._replace(path=f"/{database}").geturl()


@contextmanager
def with_template(name: str, url: str) -> Iterator[PostgresServer]:
    template = f"template_{uuid4().hex}"
    run_psql(url, f"create database {template}")
    try:
        run_psql(url_of(url, template), DAY_BEFORE, files=SCHEMA)
        run_psql(url_of(url, template), LOGINS, files=(SQL / "roles.sql",))
        may_choose = int(run_psql(url, "show server_version_num")) >= FIRST_WITH_STRATEGIES
        how = " strategy file_copy" if may_choose else ""
        orders = Orders(url)
        try:
            yield PostgresServer(name=name, url=url, template=template, how=how, orders=orders)
        finally:
            orders.close()
    finally:
        run_psql(url, f"drop database {template} with (force)")


@contextmanager
def throwaway_directory() -> Iterator[Path]:
    """Have a directory for servers: in memory where there is room, as disks may be slow to sync."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made in it has a name of its own
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    with TemporaryDirectory(prefix="tocsin-", dir=memory if roomy else None) as directory:
        path = Path(directory)
        path.chmod(0o755)  # where we are root, Postgres runs as another user
        yield path


@contextmanager
def throwaway_cluster(programs: Path) -> Iterator[Cluster]:
    """Start a server that is gone afterwards, with an empty database `tocsin`."""
    with throwaway_directory() as home:
        cluster = Cluster(bin=reachable_programs(programs), home=home)
        cluster.create(TEST_SETTINGS)
        cluster.start(random.choice(PORTS))
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


@contextmanager
def started(name: str) -> Iterator[PostgresServer]:
    """Have the server of this source."""
    with ExitStack() as stack:
        match name.split("-"):
            case ["given"]:
                url = os.environ["TEST_DATABASE_URL"]
            case ["docker", major]:
                container = PostgresContainer(f"postgres:{major}", driver=None).with_command(
                    "-c shared_preload_libraries=pg_stat_statements -c max_connections=200 "
                    "-c fsync=off -c full_page_writes=off -c timezone=America/St_Johns"
                )
                url = stack.enter_context(container).get_connection_url()
            case ["embedded"]:
                url = stack.enter_context(throwaway_cluster(embedded_programs())).server().url
            case ["system", major]:
                programs = SYSTEM_SERVERS / major / "bin"
                url = stack.enter_context(throwaway_cluster(programs)).server().url
            case _:
                raise ValueError(f"no Postgres is called {name!r}; there are {sources()}")
        yield stack.enter_context(with_template(name, url))


def programs_with_tls() -> Path:
    """Find the programs of an installed server; the embedded one is built without TLS."""
    places = [SYSTEM_SERVERS / str(major) / "bin" for major in SUPPORTED]
    found = [place for place in places if (place / "postgres").exists()]
    assert found, "no Postgres is installed: make servers"
    return found[-1]


@cache
def sources() -> tuple[str, ...]:
    """Name the servers that this machine can have, the usual one first."""
    if "TEST_DATABASE_URL" in os.environ:
        return ("given",)
    from_docker = tuple(
        f"docker-{major}" for major in DOCKER_MAJORS if docker_has(f"postgres:{major}")
    )
    if from_docker:
        return from_docker
    installed = [
        f"system-{major}"
        for major in SUPPORTED
        if (SYSTEM_SERVERS / str(major) / "bin" / "postgres").exists()
    ]
    return ("embedded", *installed)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_server" in metafunc.fixturenames:
        sources()  # now, as fetching an image may take longer than a test is allowed
    if "any_postgres" in metafunc.fixturenames:
        metafunc.parametrize("any_postgres", sources(), indirect=True)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Callable[[str], PostgresServer]]:
    """Start servers by name when first asked for, and stop them all at the end."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(started(name)))


@pytest.fixture(scope="session")
def postgres_server(postgres_servers: Callable[[str], PostgresServer]) -> PostgresServer:
    """Give the server that most tests run on."""
    return postgres_servers(os.environ.get("TEST_POSTGRES", sources()[0]))


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Give a fresh database with the schema in it."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="module")
def module_database(postgres_server: PostgresServer) -> Iterator[str]:
    """Give a database that the tests of a module share."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def any_postgres(
    request: pytest.FixtureRequest, postgres_servers: Callable[[str], PostgresServer]
) -> PostgresServer:
    """Give every server there is, in turn: the test runs once on each."""
    return postgres_servers(request.param)


@pytest.fixture
def any_database(any_postgres: PostgresServer) -> Iterator[str]:
    """Give a fresh database on every server there is, in turn.

    A module runs on all of them when its own `database_url` returns this.
    """
    with any_postgres.database() as url:
        yield url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_connection(module_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to the database that the tests of a module share."""
    connection = await asyncpg.connect(module_database)
    yield connection
    await connection.close()


@pytest.fixture
def psql(database_url: str) -> Callable[[str], str]:
    """Give what runs a script in psql on the test's database and returns the rows it printed."""
    return lambda script: run_psql(database_url, script)


@pytest.fixture(scope="session")
def stopped_postgres() -> Iterator[Cluster]:
    """Make a server whose database `tocsin` is ready and that is not running: to be copied."""
    with throwaway_directory() as home:
        cluster = Cluster(bin=reachable_programs(embedded_programs()), home=home)
        cluster.create(TEST_SETTINGS)
        cluster.start(random.choice(PORTS))
        try:
            run_psql(cluster.server().url, DAY_BEFORE, files=SCHEMA)
        finally:
            cluster.stop()
        yield cluster


@pytest.fixture
def own_postgres(stopped_postgres: Cluster) -> Iterator[Cluster]:
    """Give a server that the test may stop, start and kill; its database `tocsin` is ready."""
    with throwaway_directory() as home:
        copy_of_server(stopped_postgres, home)
        cluster = Cluster(bin=stopped_postgres.bin, home=home)
        cluster.start(random.choice(PORTS))
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


def copy_of_server(cluster: Cluster, home: Path) -> None:
    """Copy a stopped server with its owners and modes, which Postgres insists on."""
    subprocess.run(["cp", "-a", cluster.home / "server", home], check=True)  # noqa: S603, S607
