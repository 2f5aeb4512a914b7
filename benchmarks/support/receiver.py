"""A target that is not the bottleneck: notes when each request arrives and answers 200.

Run as a process of its own. `POST /j/<number>` is a job's request; what the benchmark itself asks
goes to `/_count`, `/_arrivals` and `/_reset` on the same port.
"""

import asyncio
import http.client
import re
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, cast

import uvloop
from msgspec import Struct

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
SCHEDULED_FOR = re.compile(rb"\r\ntocsin-scheduled-for:[ \t]*(\S+)", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"


class Arrivals:
    """Which job arrived when (ns since the epoch), in the order of arrival."""

    def __init__(self) -> None:
        self.numbers = array("q")
        self.times = array("q")

    def clear(self) -> None:
        """Forget everything."""
        del self.numbers[:], self.times[:]


class Receiving(asyncio.Protocol):
    """One connection: requests in a row, each answered as soon as it is complete."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.rest = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        now = time.time_ns()
        if self.rest:
            data = self.rest + data
        while (head := data.find(HEAD_END)) >= 0:
            end = head + 4
            if length := LENGTH.search(data, 0, end):
                end += int(length[1])
            if len(data) < end:
                break
            self.request(data[: data.index(b"\r")], now)
            data = data[end:]
        self.rest = data

    def request(self, line: bytes, now: int) -> None:
        """Note an arrival, or answer the benchmark."""
        path = line.split(b" ", 2)[1]
        if path.startswith(b"/j/"):
            self.arrivals.numbers.append(int(path[3:]))
            self.arrivals.times.append(now)
            self.transport.write(OK)
            return
        body = b""
        if path == b"/_count":
            body = str(len(self.arrivals.times)).encode()
        elif path == b"/_arrivals":
            body = self.arrivals.numbers.tobytes() + self.arrivals.times.tobytes()
        elif path == b"/_reset":
            self.arrivals.clear()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


class Arrival(Struct, frozen=True):
    """One request, as it came in."""

    number: int
    at: float
    """Seconds since the epoch."""


class Receiver:
    """The receiver as the benchmark sees it."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Start the process, wait until it listens, and end it afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.support.receiver"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield cls(int(process.stdout.readline()), process.pid)
        finally:
            process.terminate()
            process.wait()

    def url(self, number: int) -> str:
        """Where job `number` has to be sent."""
        return f"http://127.0.0.1:{self.port}/j/{number}"

    @property
    def base_url(self) -> str:
        """`url` without the number."""
        return f"http://127.0.0.1:{self.port}/j/"

    def ask(self, path: str) -> bytes:
        """Ask the receiver something."""
        self.connection.request("GET", path)
        return self.connection.getresponse().read()

    def reset(self) -> None:
        """Forget what has arrived."""
        self.ask("/_reset")

    def count(self) -> int:
        """How many have arrived."""
        return int(self.ask("/_count"))

    def arrivals(self) -> list[Arrival]:
        """Return what has arrived, in order."""
        raw = array("q")
        raw.frombytes(self.ask("/_arrivals"))
        half = len(raw) // 2
        return [
            Arrival(number, at / 1e9) for number, at in zip(raw[:half], raw[half:], strict=True)
        ]

    async def wait_for(
        self, count: int, *, seconds: float, check: Callable[[], None] = lambda: None
    ) -> list[Arrival]:
        """Return the arrivals once there are `count`; `check` raises where waiting is in vain.

        Raises:
            TimeoutError: there were not so many in time.
        """
        deadline = time.monotonic() + seconds
        while (arrived := self.count()) < count:
            check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{arrived} of {count} jobs arrived within {seconds:.0f} s")
            await asyncio.sleep(0.05)
        return self.arrivals()


async def serve() -> None:
    """Listen on any free port, print it, and receive for ever."""
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiving(arrivals), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
