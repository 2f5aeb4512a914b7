"""A Postgres whose clock a test sets while it runs, by libfaketime."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from app.devdb import cluster
from app.devdb.places import embedded_programs
from tests.support.postgres import (
    PostgresServer,
    throwaway_cluster,
    throwaway_directory,
    with_template,
)

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Clock:
    """The wall clock of such a server; its monotonic clock is not changed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, ahead_seconds: float) -> None:
        """Set the clock to so many seconds ahead of the right time.

        The file is replaced as a whole: a process that reads an empty one is ended by libfaketime.
        """
        new = self.file.with_suffix(".new")
        new.write_text(f"{ahead_seconds:+f}\n", "ascii")
        new.chmod(0o644)  # where we are root, Postgres runs as another user
        new.replace(self.file)


@contextmanager
def postgres_with_clock(directory: Path) -> Iterator[tuple[PostgresServer, Clock]]:
    """Start such a server; all users may enter `directory`."""
    assert LIBRARY is not None, "libfaketime is missing: make servers"
    clock = Clock(directory / "clock")
    environment = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with (
        patch.dict(cluster.ENVIRONMENT, environment),
        throwaway_cluster(embedded_programs()) as one,
        with_template("with-clock", one.server().url) as server,
    ):
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
