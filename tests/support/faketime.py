"""A Postgres whose clock a test sets while it runs, by libfaketime."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from app.devdb import cluster
from app.devdb.cluster import Cluster
from app.devdb.places import embedded_programs
from tests.support.postgres import (
    PORTS,
    PostgresServer,
    throwaway_cluster,
    throwaway_directory,
    with_template,
)
from tests.support.psql import run_psql

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
STARTS = 5
START_SECONDS = 0.012
"""What a program takes from its start until libfaketime notes when that was."""
RIGHT_SECONDS = 0.1
AHEAD = "select extract(epoch from clock_timestamp()) - {}"


class Clock:
    """The wall clock of such a server; its monotonic clock is not changed.

    A process that is preloaded shows the time of a file's last change, and lets it pass from then
    on as if the file had changed when the server started. So the server has to start with a second.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.touch(0o644)
        self.file.chmod(0o644)  # where we are root, Postgres runs as another user
        self.started = 0
        """When the server started, by the right clock, in whole seconds."""

    def set(self, ahead_seconds: float) -> None:
        """Set the clock to so many seconds ahead of the right time, in whole seconds."""
        shown = self.started + round(ahead_seconds)
        os.utime(self.file, (shown, shown))

    def start(self, server: Cluster) -> None:
        """Start the server anew with a second, so that its clock is right."""
        tried: list[float] = []
        while not tried or abs(tried[-1]) > RIGHT_SECONDS:
            assert len(tried) < STARTS, f"the server's clock is wrong by these seconds: {tried}"
            server.stop()
            time.sleep(1 - (time.time() + START_SECONDS) % 1)
            self.started = round(time.time())
            self.set(0)
            server.start(random.choice(PORTS))
            tried.append(float(run_psql(server.server().url, AHEAD.format(time.time()))))


@contextmanager
def postgres_with_clock(directory: Path) -> Iterator[tuple[PostgresServer, Clock]]:
    """Start such a server; all users may enter `directory`.

    Postgres reads the time in handlers of signals too, so libfaketime must allocate nothing for it.
    Where it opens a file (`FAKETIME_TIMESTAMP_FILE`), a backend whose statement times out in
    the middle of an allocation is aborted, and Postgres recovers in the middle of a test.
    """
    assert LIBRARY is not None, "libfaketime is missing: make servers"
    clock = Clock(directory / "clock")
    environment = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": "%",
        "FAKETIME_FOLLOW_FILE": str(clock.file),
        "FAKETIME_DONT_RESET": "1",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with (
        patch.dict(cluster.ENVIRONMENT, environment),
        throwaway_cluster(embedded_programs()) as one,
    ):
        clock.start(one)
        with with_template("with-clock", one.server().url) as server:
            yield server, clock


@pytest.fixture(scope="module")
def stepping() -> Iterator[tuple[PostgresServer, Clock]]:
    """Give such a server to the tests of a module."""
    with throwaway_directory() as directory, postgres_with_clock(directory) as server:
        yield server


@pytest.fixture
def clock(stepping: tuple[PostgresServer, Clock]) -> Iterator[Clock]:
    """Give its clock, which is right again afterwards."""
    _, clock = stepping
    yield clock
    clock.set(0)
