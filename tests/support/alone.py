"""Tests that measure how late others' jobs are run alone, however many processes share the tests.

With `pytest --numprocesses`, a test of one process slows those of the others down. A test with the
marker `alone` waits until the others' tests have ended, and theirs wait for it: a lock for readers
and writers, with a gate before it, so that a writer is not overtaken by reader after reader.

While one runs, all the other processes idle, and they idle before each to let it begin. So these
tests come last, one after another in a single process, when the others have nothing left to do.
"""

import fcntl
import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

UNIT = Path(__file__).parents[1] / "unit"


def is_alone(item: pytest.Item) -> bool:
    """Return whether no other test may run beside this one."""
    return item.get_closest_marker("alone") is not None


def turns(config: pytest.Config) -> Path:
    """Return the directory that the processes of a run of tests share."""
    # A test that runs pytest itself sets the variable: it would wait for its own turn to end.
    here = config.rootpath / ".pytest_cache" / "alone"  # also with -p no:cacheprovider
    shared = Path(os.environ.get("TURNS_OF_TESTS", here))
    shared.mkdir(parents=True, exist_ok=True)
    return shared


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold the lock of a file, `LOCK_SH` beside others that do or `LOCK_EX` alone."""
    with path.open("w") as file:  # which lets go of its lock when it is closed
        fcntl.flock(file, how)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the timer of pytest-timeout starts
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test beside those of other processes, or alone."""
    shared = turns(item.config)
    how = fcntl.LOCK_EX if is_alone(item) else fcntl.LOCK_SH
    with locked(shared / "gate", fcntl.LOCK_EX):
        turn = locked(shared / "turn", how)
        turn.__enter__()
    try:
        return (yield)
    finally:
        turn.__exit__(None, None, None)


def expected_seconds(item: pytest.Item) -> float:
    """Guess how long a test takes: one that was given more time than others takes more."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) / 20 if marker else 0.3


@pytest.hookimpl(trylast=True)  # when those of faults have their time
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests that run alone last, and what takes no time before them, so that all end at once.

    Of the rest those files come first that take the longest.
    """
    seconds: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        seconds[item.path] += expected_seconds(item)
    items.sort(
        key=lambda item: (is_alone(item), item.path.is_relative_to(UNIT), -seconds[item.path])
    )
    worker = getattr(config, "workerinput", {"workerid": "none"})
    if worker["workerid"] == "gw0":  # all collect the same
        names = "\n".join(item.nodeid for item in items if is_alone(item))
        (turns(config) / worker["testrunuid"]).write_text(names, "utf-8")


class Turns(LoadFileScheduling):  # type: ignore[misc]
    """Shares tests out by file, and those that run alone as if they were a file of their own."""

    @cached_property
    def alone(self) -> frozenset[str]:
        """The tests that run alone, as the processes that collected them have told."""
        told = turns(self.config) / self.nodes[0].workerinput["testrunuid"]
        names = told.read_text("utf-8").splitlines()
        told.unlink()
        return frozenset(names)

    def _split_scope(self, nodeid: str) -> str:
        return "alone" if nodeid in self.alone else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Turns | None:
    """Share the tests out among processes."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # they were put in order when they were collected
    return Turns(config, log)
