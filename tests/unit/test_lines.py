"""Lines are written, kept or dropped, but never waited for."""

import os
import pty
import resource
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.telemetry.lines import Lines

LINE = "x" * 99 + "\n"


@pytest.fixture
def lost() -> list[int]:
    return []


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    yield ours, theirs
    for one in (ours, theirs):
        with suppress(OSError):
            os.close(one)


def read_all(descriptor: int, lines: Lines) -> bytes:
    """Read until nothing waits any more, then what is still there."""
    found = b""
    while True:
        done = lines.drain(0)
        readable, _, _ = select.select([descriptor], [], [], 0 if done else 0.02)
        if readable:
            found += os.read(descriptor, 1_000_000)
        elif done:
            return found


def ends(work: Callable[[], object], *, within: float = 20.0) -> None:
    """Run it in a thread, as it may hang."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(within)
    assert not thread.is_alive(), "it waited for the reader"


def test_a_stuck_reader_is_not_waited_for_and_what_it_missed_is_counted(
    pipe: tuple[int, int], lost: list[int]
) -> None:
    ours, theirs = pipe
    lines = Lines(theirs, on_lost=lost.append, most_bytes=50_000)

    ends(lambda: [lines.write(LINE) for _ in range(5_000)])
    missed = lines.lost
    found = read_all(ours, lines)
    lines.write(LINE)

    assert missed > 0
    assert lines.lost == 0
    assert sum(lost) == missed
    assert found.count(b"\n") + missed == 5_000
    assert set(found.splitlines(keepends=True)) == {LINE.encode()}


def test_a_reader_that_is_gone_ends_nothing(pipe: tuple[int, int], lost: list[int]) -> None:
    ours, theirs = pipe
    os.close(ours)
    lines = Lines(theirs, on_lost=lost.append)

    for _ in range(10):
        lines.write(LINE)

    assert (lines.lost, lost) == (10, [])


def test_a_full_disk_ends_nothing(lost: list[int]) -> None:
    with Path("/dev/full").open("wb") as full:
        lines = Lines(full.fileno(), on_lost=lost.append)
        for _ in range(10):
            lines.write(LINE)
        assert lines.drain(20.0)

        assert (lines.lost, lost) == (10, [])


def test_a_file_that_may_not_grow_takes_the_next_line_once_it_may(
    tmp_path: Path, lost: list[int]
) -> None:
    file = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with file.open("wb") as opened:
        lines = Lines(opened.fileno(), on_lost=lambda count: lines.write(f"{count} lost\n"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            lines.write(LINE)
            lines.write(LINE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        lines.write("after\n")

    assert file.read_text("utf-8") == "after\n2 lost\n"


def test_a_terminal_that_was_stopped_is_not_waited_for(lost: list[int]) -> None:
    ours, theirs = pty.openpty()
    try:
        lines = Lines(theirs, on_lost=lost.append, most_bytes=10_000)
        assert lines.isatty()

        ends(lambda: [lines.write(LINE) for _ in range(2_000)])

        assert lines.lost + sum(lost) > 0
        read_all(ours, lines)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("blocking", [True, False])
def test_all_that_a_slow_reader_has_time_for_reaches_it_in_order(blocking: bool) -> None:  # noqa: FBT001 - a case
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(blocking)
        lines = Lines(theirs.fileno())
        for number in range(20_000):
            lines.write(f"{number}\n")
        found = read_all(ours.fileno(), lines)

    assert found.decode().split() == [str(number) for number in range(20_000)]


def test_a_stream_that_was_closed_at_the_start_writes_into_no_file_of_its_number() -> None:
    lines = Lines(None)

    assert lines.write(LINE) == len(LINE)
    assert (lines.lost, lines.isatty()) == (0, False)


def test_text_that_is_no_unicode_is_written_escaped(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    Lines(theirs).write("\udcff\n")

    assert os.read(ours, 100) == b"\\udcff\n"
