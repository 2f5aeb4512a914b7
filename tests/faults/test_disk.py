"""Postgres's disk is full for a while: an outage like others, and nothing promised is lost."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.devdb.cluster import Cluster
from tests.faults.conftest import Case
from tests.support.postgres import PORTS, copy_of_server
from tests.support.waiting import until

SIZE = "160m"
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
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Have a file system of a size that can be filled."""
    disk = tmp_path / "disk"
    disk.mkdir()
    as_root(
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={SIZE},mode=0755,uid={os.geteuid()}",
        "tmpfs",
        str(disk),
    )
    try:
        yield disk
    finally:
        as_root("umount", "--lazy", str(disk))


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
    for directory in (small_disk, *small_disk.parents):
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(directory.stat().st_mode | 0o011)
    copy_of_server(stopped_postgres, small_disk)
    cluster = Cluster(bin=stopped_postgres.bin, home=small_disk)
    with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("wal_recycle = off\nmax_wal_size = 32MB\n")
    cluster.start(PORTS.start + os.getpid() % len(PORTS))
    try:
        yield cluster
    finally:
        cluster.stop("immediate")


@pytest.fixture
def database_url(disk_postgres: Cluster) -> str:
    return disk_postgres.server().url


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
                return felt()

            await until(filled_and_felt, "an instance noticed", within=30)
            await case.moment(2.0)
            full = shutil.disk_usage(small_disk).free
            ballast.free()
            if not await asyncio.to_thread(disk_postgres.is_running):
                await asyncio.to_thread(disk_postgres.start, 0)
        await asyncio.sleep(2.0)

    findings = await case.verdict(within=30)

    assert full < 2**16
    assert findings.promised > 30
