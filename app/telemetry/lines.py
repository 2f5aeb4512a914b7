"""Writes lines to a file descriptor without ever waiting for whoever reads them.

A reader that is stuck would hold up every execution of a process, and one that is gone would end
it.
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
"""Of lines that wait for their reader; later ones are dropped, and counted."""
POLL_MILLISECONDS = 1000
LAST_SECONDS = 1.0
NOT_NOW = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})
NEVER_SO = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE})
"""The kernel, or this kind of file, cannot be written to in that way."""


class Lines:
    """Looks like a text stream whose writes return at once.

    A line goes out directly where the kernel takes it at once, else a thread waits with it for the
    reader. `on_lost` is called with the number of lines that were dropped as soon as one gets
    through again, from whatever thread that was written by.
    """

    def __init__(
        self,
        descriptor: int | None,
        *,
        on_lost: Callable[[int], None] = lambda _: None,
        most_bytes: int = MAX_BYTES,
    ) -> None:
        self.descriptor = descriptor
        """None: it is closed; nothing is written, since its number may be another file's now."""
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
        self.direct: Callable[[bytes], int] | None = self.direct_way()

    def direct_way(self) -> Callable[[bytes], int] | None:
        """Return what writes without waiting; None: only a thread may write."""
        if self.descriptor is None:
            return None
        mode = os.fstat(self.descriptor).st_mode
        if stat.S_ISREG(mode):
            return self.write_at_once
        if (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and hasattr(os, "RWF_NOWAIT"):
            return self.write_if_it_can
        return None

    def write_at_once(self, data: bytes) -> int:
        """Write to a file, which has no reader to wait for."""
        return os.write(self.descriptor or 0, data)

    def write_if_it_can(self, data: bytes) -> int:
        """Write as much as a pipe or socket has room for; of a short line all or nothing."""
        return os.pwritev(self.descriptor or 0, [data], -1, os.RWF_NOWAIT)

    def isatty(self) -> bool:
        """Whether a person reads."""
        return self.descriptor is not None and os.isatty(self.descriptor)

    def flush(self) -> None:
        """Do nothing, as streams are flushed after each line; see `drain`."""

    def write(self, text: str) -> int:
        """Write a line, or keep it until it can be written, or drop it."""
        if self.descriptor is not None:
            data = text.encode("utf-8", "backslashreplace")
            with self.lock:
                told = self.put(data)
            if told:
                self.tell_lost()
        return len(text)

    def put(self, data: bytes) -> bool:
        """Do so, and return whether the line is through though some before it were dropped."""
        if not self.waiting and self.direct is not None:
            try:
                written = self.direct(data)
            except OSError as error:
                if error.errno not in NOT_NOW | NEVER_SO:
                    self.lost += 1  # no reader, no room: waiting would not help
                    return False
                if error.errno in NEVER_SO:
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
        """Write what waits, for as long as the process lives."""
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
        """Write all of it, however long its reader takes; return whether that was possible."""
        while data:
            try:
                data = data[os.write(self.descriptor or 0, data) :]
            except OSError as error:
                if error.errno not in NOT_NOW:
                    return False
                poll = select.poll()  # somebody made it non-blocking, for all who have it
                poll.register(self.descriptor or 0, select.POLLOUT)
                poll.poll(POLL_MILLISECONDS)
        return True

    def tell_lost(self) -> None:
        """Say how many lines were dropped; should that line be dropped as well, say it later."""
        with self.lock:
            lost, self.lost = self.lost, 0
        self.on_lost(lost)
        with self.lock:
            self.lost += lost if self.lost else 0

    def drain(self, seconds: float) -> bool:
        """Wait so long at most for what waits to be written; return whether it is."""
        return self.empty.wait(seconds)


def lines_to(
    stream: TextIO | None, on_lost: Callable[[int], None] = lambda _: None
) -> TextIO | Lines:
    """Write to where a standard stream leads; Python has None for one that was closed.

    At the end of the process a moment is left for what still waits.
    """
    try:
        lines = Lines(None if stream is None else stream.fileno(), on_lost=on_lost)
    except (OSError, ValueError):  # it is in memory
        return stream or Lines(None)
    atexit.register(lines.drain, LAST_SECONDS)
    return lines
