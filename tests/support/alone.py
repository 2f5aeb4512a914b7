"""Tests that measure how late others' jobs are run alone, however many processes share the tests.

With `pytest --numprocesses`, a test of one process slows those of the others down. A test with the
marker `alone` waits until the others' tests have ended, and theirs wait for it: a lock for readers
and writers, with a gate before it, so that a writer is not overtaken by reader after reader.
"""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold the lock of a file, `LOCK_SH` beside others that do or `LOCK_EX` alone."""
    with path.open("w") as file:  # which lets go of its lock when it is closed
        fcntl.flock(file, how)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the timer of pytest-timeout starts
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test beside those of other processes, or alone."""
    # A test that runs pytest itself sets the variable: it would wait for its own turn to end.
    here = item.config.rootpath / ".pytest_cache" / "alone"  # also with -p no:cacheprovider
    shared = Path(os.environ.get("TURNS_OF_TESTS", here))
    shared.mkdir(parents=True, exist_ok=True)
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with locked(shared / "gate", fcntl.LOCK_EX):
        turn = locked(shared / "turn", how)
        turn.__enter__()
    try:
        return (yield)
    finally:
        turn.__exit__(None, None, None)
