"""Tests that measure how late others' jobs are run alone, however many processes share the tests.

With `pytest --numprocesses`, a test of one process slows those of the others down. A test with the
marker `alone` waits until the others' tests have ended, and theirs wait for it: a lock for readers
and writers, with a gate before it, so that a writer is not overtaken by reader after reader.

While one runs, all the other processes idle, and they idle before each to let it begin. So these
tests come last, one after another in a single process, when the others have nothing left to do.

Tests with the marker `quiet` measure as well, but mostly wait, and leave the machine to others that
do. They come just before, beside each other, and at first beside what is left of the rest.
"""

import fcntl
import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import IntEnum, auto
from functools import cached_property
from pathlib import Path

import pytest
from msgspec import json
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

UNIT = Path(__file__).parents[1] / "unit"


class Part(IntEnum):
    """The parts of a run of tests, in their order."""

    FIRST = auto()
    QUICK = auto()
    """What takes no time, so that all processes come to the end of it at once."""
    QUIET = auto()
    ALONE = auto()


def is_alone(item: pytest.Item) -> bool:
    """Return whether no other test may run beside this one."""
    return item.get_closest_marker("alone") is not None


def part_of(item: pytest.Item) -> Part:
    """Return the part of the run in which a test has its turn."""
    if is_alone(item):
        return Part.ALONE
    if item.get_closest_marker("quiet"):
        return Part.QUIET
    return Part.QUICK if item.path.is_relative_to(UNIT) else Part.FIRST


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
    """Put the tests in the order of their parts, and in each the longest files first."""
    seconds: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        seconds[item.path] += expected_seconds(item)
    items.sort(key=lambda item: (part_of(item), -seconds[item.path]))
    worker = getattr(config, "workerinput", {"workerid": "none"})
    if worker["workerid"] == "gw0":  # all collect the same
        parts = {item.nodeid: part for item in items if (part := part_of(item)) >= Part.QUIET}
        (turns(config) / worker["testrunuid"]).write_bytes(json.encode(parts))


class Turns(LoadFileScheduling):  # type: ignore[misc]
    """Shares tests out by file; those that run alone as if they were a file of their own."""

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Those that run late, as the processes that collected them have told."""
        told = turns(self.config) / self.nodes[0].workerinput["testrunuid"]
        parts = json.decode(told.read_bytes(), type=dict[str, Part])
        told.unlink()
        return parts

    def _split_scope(self, nodeid: str) -> str:
        match self.parts.get(nodeid):
            case Part.ALONE:
                return "alone"
            case Part.QUIET:
                return f"quiet {super()._split_scope(nodeid)}"
            case _:
                return str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Turns | None:
    """Share the tests out among processes."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # they were put in order when they were collected
    return Turns(config, log)
