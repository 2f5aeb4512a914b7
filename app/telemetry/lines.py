"""Writes log lines to a file descriptor without ever waiting for the reader of a pipe.

Otherwise a reader that does not read would block every execution of the process, and a reader that
has ended would end the process.
"""

import atexit
import errno
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

MAX_BYTES = 2 * 1024 * 1024
"""The most bytes kept for a slow reader; further lines are dropped and counted."""
POLL_MILLISECONDS = 1000
"""How long the thread waits at once for a non-blocking descriptor to accept data."""
LAST_SECONDS = 1.0
"""How long the end of the process waits for kept lines to be written."""
NOT_NOW = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})
"""Errors of a write to a pipe that has no room now."""
UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE})
"""Errors of a kernel or file system that does not support writes without waiting."""


class Lines:
    """A text stream whose writes return at once.

    A line that the kernel accepts at once is written directly; any other is kept for a thread that
    waits for the reader. `on_lost` is called with the number of dropped lines once a line is
    written again, in the thread that wrote that line.
    """

    def __init__(
        self,
        descriptor: int | None,
        *,
        on_lost: Callable[[int], None] = lambda _: None,
        most_bytes: int = MAX_BYTES,
    ) -> None:
        self.descriptor = descriptor
        """The file descriptor; None for a stream that was closed, as its number may be another
        file's by now."""
        self.on_lost = on_lost
        self.most_bytes = most_bytes
        self.lost = 0
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.lock = threading.Lock()
        self.more = threading.Event()
        self.empty = threading.Event()
        self.empty.set()
        self.thread: threading.Thread | None = None
        self.direct: Callable[[bytes], int] | None = self.direct_writer()

    def __repr__(self) -> str:
        return f"Lines({self.descriptor}, {self.waiting_bytes} bytes waiting, {self.lost} lost)"

    def direct_writer(self) -> Callable[[bytes], int] | None:
        """Return a function that writes without waiting; None if only the thread may write."""
        if self.descriptor is None:
            return None
        mode = os.fstat(self.descriptor).st_mode
        if stat.S_ISREG(mode):
            return self.write_at_once
        if (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and hasattr(os, "RWF_NOWAIT"):
            return self.write_if_possible
        return None

    def write_at_once(self, data: bytes) -> int:
        """Write to a regular file, which has no reader to wait for."""
        return os.write(self.descriptor or 0, data)

    def write_if_possible(self, data: bytes) -> int:
        """Write as much as a pipe or socket has room for; a short line is written whole or not."""
        return os.pwritev(self.descriptor or 0, [data], -1, os.RWF_NOWAIT)

    def isatty(self) -> bool:
        """Return whether the lines go to a terminal."""
        return self.descriptor is not None and os.isatty(self.descriptor)

    def flush(self) -> None:
        """Do nothing: loggers flush after each line, and must not wait. See `drain`."""

    def write(self, text: str) -> int:
        """Write a line, keep it for the thread, or drop it."""
        if self.descriptor is not None:
            data = text.encode("utf-8", "backslashreplace")
            with self.lock:
                told = self.put(data)
            if told:
                self.tell_lost()
        return len(text)

    def put(self, data: bytes) -> bool:
        """Write, keep or drop a line; return whether it was written after others were dropped."""
        if not self.waiting and self.direct is not None:
            try:
                written = self.direct(data)
            except OSError as error:
                if error.errno not in NOT_NOW | UNSUPPORTED:
                    self.lost += 1  # no reader, or a full disk: waiting would not help
                    return False
                if error.errno in UNSUPPORTED:
                    self.direct = None
                written = 0
            if written == len(data):
                return self.lost > 0
            data = data[written:]
        if self.waiting_bytes + len(data) > self.most_bytes:
            self.lost += 1
            return False
        self.waiting.append(data)
        self.waiting_bytes += len(data)
        self.empty.clear()
        self.more.set()
        if self.thread is None:
            self.thread = threading.Thread(target=self.write_waiting, name="log", daemon=True)
            self.thread.start()
        return False

    def write_waiting(self) -> None:
        """Write the lines that are kept, for as long as the process lives."""
        while True:
            self.more.wait()
            with self.lock:
                if not self.waiting:
                    self.more.clear()
                    self.empty.set()
                    continue
                data = self.waiting[0]
            through = self.write_patiently(data)
            with self.lock:
                self.waiting.popleft()
                self.waiting_bytes -= len(data)
                self.lost += not through
                told = through and self.lost > 0
            if told:
                self.tell_lost()

    def write_patiently(self, data: bytes) -> bool:
        """Write a line, however long its reader takes; return False if the write failed."""
        while data:
            try:
                data = data[os.write(self.descriptor or 0, data) :]
            except OSError as error:
                if error.errno not in NOT_NOW:
                    return False
                poll = select.poll()  # another process with this pipe has made it non-blocking
                poll.register(self.descriptor or 0, select.POLLOUT)
                poll.poll(POLL_MILLISECONDS)
        return True

    def tell_lost(self) -> None:
        """Report how many lines were dropped; if that report is dropped too, report it later."""
        with self.lock:
            lost, self.lost = self.lost, 0
        self.on_lost(lost)
        with self.lock:
            self.lost += lost if self.lost else 0

    def drain(self, seconds: float) -> bool:
        """Wait until all kept lines are written; return False if `seconds` did not suffice."""
        return self.empty.wait(seconds)


def lines_to(
    stream: TextIO | None, on_lost: Callable[[int], None] = lambda _: None
) -> TextIO | Lines:
    """Return a stream to the same descriptor as a standard stream, which is None if closed.

    The end of the process waits up to `LAST_SECONDS` for kept lines.
    """
    try:
        lines = Lines(None if stream is None else stream.fileno(), on_lost=on_lost)
    except (OSError, ValueError):  # a stream in memory, without a descriptor
        return stream or Lines(None)
    atexit.register(lines.drain, LAST_SECONDS)
    return lines
