"""Postgres's disk is full for a while: an outage like others, and nothing promised is lost."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from app.devdb.cluster import Cluster, DevDatabaseFailed
from tests.faults.conftest import Case
from tests.support.postgres import PORTS, copy_of_server, throwaway_directory
from tests.support.waiting import until

SIZE = "160m"
REFUSED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
HANGS_SECONDS = 3.0
"""Of recovering so little; PostgreSQL 18.6 was seen not to come to an end with it for ever."""
RESUMED_SECONDS = 10.0
"""The longest until work goes on, counted from when there is room and Postgres is up again."""


def as_root(*command: str) -> None:
    """Run a command as root, whoever we are.

    Raises:
        AssertionError: that is not allowed; says what it was for.
    """
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    ended = subprocess.run([*sudo, *command], capture_output=True, text=True, check=False)  # noqa: S603
    assert not ended.returncode, f"a small disk takes the right to mount one: {ended.stderr}"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Have a file system of a size that can be filled."""
    options = f"size={SIZE},mode=0755,uid={os.geteuid()}"
    with throwaway_directory() as directory:
        as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory))
        try:
            yield directory
        finally:
            as_root("umount", "--lazy", str(directory))


class Ballast:
    """A file that takes all the room there is."""

    def __init__(self, disk: Path) -> None:
        self.path = disk / "ballast"

    def fill(self) -> None:
        """Take what is left, and whatever Postgres frees while it is at it."""
        with self.path.open("ab", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        self.path.unlink()


@pytest.fixture
def disk_postgres(small_disk: Path, stopped_postgres: Cluster) -> Iterator[Cluster]:
    """Have a server whose data is on the small disk."""
    copy_of_server(stopped_postgres, small_disk)
    cluster = Cluster(bin=stopped_postgres.bin, home=small_disk)
    with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("wal_recycle = off\nmax_wal_size = 32MB\n")
    cluster.start(random.choice(PORTS))
    try:
        yield cluster
    finally:
        cluster.stop("immediate")


@pytest.fixture
def database_url(disk_postgres: Cluster) -> str:
    return disk_postgres.server().url


class Operator:
    """Sees to it that Postgres is up again, as a person would."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.recovering_since: float | None = None

    async def has_it_up(self) -> bool:
        """Start it if it is down, and anew if its recovery hangs; tell whether it answers."""
        if not await asyncio.to_thread(self.cluster.is_running):
            await self.start()
        try:
            connection = await asyncpg.connect(self.cluster.server().url)
        except REFUSED:
            await self.start_anew_if_it_hangs()
            return False
        await connection.close()
        return True

    async def start(self) -> None:
        self.recovering_since = None
        with suppress(DevDatabaseFailed):  # it was about to go down, and now it is
            await asyncio.to_thread(self.cluster.start, 0)

    async def start_anew_if_it_hangs(self) -> None:
        now = asyncio.get_running_loop().time()
        self.recovering_since = self.recovering_since or now
        if now - self.recovering_since > HANGS_SECONDS:
            with suppress(DevDatabaseFailed):
                await asyncio.to_thread(self.cluster.stop, "immediate")
            await self.start()


async def test_a_full_disk_is_an_outage_that_passes(
    case: Case, disk_postgres: Cluster, small_disk: Path
) -> None:
    ballast = Ballast(small_disk)
    first, second = await case.processes.instances(2)
    await case.load.crons(case.connection, 5)

    def felt() -> bool:
        return any(one.said("faulted") or one.said("disconnected") for one in (first, second))

    async with case.load.running(per_second=20):
        await case.moment(1.0)
        with case.ledger.fault("the disk is full", within=RESUMED_SECONDS):

            async def filled_and_felt() -> bool:
                await asyncio.to_thread(ballast.fill)
                with suppress(*REFUSED):
                    # The segment of the log that it is at has room left: ask for the next one.
                    await case.connection.execute("select pg_switch_wal()")
                return felt()

            await until(filled_and_felt, "an instance noticed", within=30)
            await case.moment(2.0)
            ballast.free()
            await until(Operator(disk_postgres).has_it_up, "Postgres was up again", within=30)
        await asyncio.sleep(2.0)

    findings = await case.verdict(within=30)

    assert findings.promised > 30
