"""Uvicorn's HTTP/1.1 with time limits for clients and a limit on their connections.

Uvicorn closes a connection that is idle after an answer, but keeps for ever a connection whose
client never sends a whole request or never reads its answer. Some hundreds of these would use up
all file descriptors (docs/adr/0055).
"""

import asyncio
import resource
from collections import Counter
from time import monotonic
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.core.net.clients import client_of
from app.core.net.proxies import Proxies
from app.timers import Monotonic

HEAD_SECONDS = 10.0
"""How long the headers of a request may take, from its first byte or from the opening of the
connection."""
BODY_SECONDS = 20.0
"""How long a body may take, in addition to the time for its bytes at `SLOWEST_BYTES_A_SECOND`."""
SLOWEST_BYTES_A_SECOND = 16_384
"""The slowest rate at which a client may send a body."""
DRAIN_SECONDS = 2.0
"""How long a half-sent body may take once the server is told to stop."""
ANSWER_SECONDS = 30.0
"""After so long without a client reading any byte of its answer, the connection is cut."""
SWEEP_SECONDS = 0.5
"""How often all connections are checked for these limits."""

SHARE_OF_DESCRIPTORS = 0.5
"""The share of the file descriptors for connections of clients; the rest is for Postgres and
files."""
MAX_CONNECTIONS = 10_000
"""The most connections of all clients, however many descriptors there are."""

TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 34\r\n\r\n"
    b"The request was not sent in time.\r\n"[:-1]
)
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"X-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 58\r\n\r\nThis client has as many connections as it may have at once"
)


def most_connections() -> int:
    """Return how many connections of clients this process accepts at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(min(int(soft * SHARE_OF_DESCRIPTORS), MAX_CONNECTIONS), 1)


class Connections:
    """The open connections of one server, with the client of each, and the limits on them.

    At the limit of one client or of all, a new connection takes the place of an idle one: of that
    client, or of the client with the most connections. Of its idle connections the one that has
    waited longest for a request is closed. A connection with a request under way never is.
    """

    def __init__(
        self, *, of_a_client: int, in_all: int, proxies: Proxies, clock: Monotonic = monotonic
    ) -> None:
        self.of_a_client = of_a_client
        self.in_all = in_all
        self.proxies = proxies
        self.clock = clock
        self.open: dict[BoundedHttp, str] = {}
        """The open connections, the oldest first, each with its client."""
        self.counts: Counter[str] = Counter()
        """How many connections each client has."""
        self.timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Connections: {len(self.open)} of {self.in_all}, of {len(self.counts)} clients>"

    def admit(self, connection: "BoundedHttp", host: str) -> bool:
        """Count a new connection, after closing an idle one if need be; return False at a limit."""
        client = client_of(host)
        if not self.proxies.trusts(host) and self.counts[client] >= self.of_a_client > 0:
            if not self.make_room(client):
                return False
        elif len(self.open) >= self.in_all and not any(
            self.make_room(other) for other, _ in self.counts.most_common()
        ):
            return False
        self.open[connection] = client
        self.counts[client] += 1
        if self.timer is None:
            self.watch()
        return True

    def make_room(self, client: str) -> bool:
        """Close the client's longest idle connection; return False if none is idle."""
        waiting = [one for one, whose in self.open.items() if whose == client and one.is_waiting]
        if not waiting:
            return False
        longest = min(waiting, key=lambda one: one.since)
        longest.give_up()
        self.forget(longest)
        return True

    def forget(self, connection: "BoundedHttp") -> None:
        """Stop counting a connection, if it is counted."""
        client = self.open.pop(connection, None)
        if client is not None:
            self.counts[client] -= 1
            if not self.counts[client]:
                del self.counts[client]

    def watch(self) -> None:
        """Have `sweep` called after `SWEEP_SECONDS`."""
        self.timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self.sweep)

    def sweep(self) -> None:
        """Check the time limits of all connections."""
        self.timer = None
        now = self.clock()
        for connection in tuple(self.open):
            connection.look(now)
        if self.open:
            self.watch()


class BoundedHttp(H11Protocol):
    """One connection, as uvicorn serves it, with time limits for its client."""

    all: ClassVar[Connections]
    """The connections of the same server."""

    since = 0.0
    """When the present request, or the wait for it, began; monotonic seconds."""
    received = 0
    """Bytes received since then."""
    taken_at = 0.0
    """When the client last took a part of an answer."""
    untaken = 0
    """Bytes of the answer that the client has not taken yet."""
    draining = False
    """Whether the server was told to stop."""
    refused = False
    """Whether there was no room for the connection, which is being closed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.begin()
        self.taken_at = self.since
        if not self.all.admit(self, self.client[0] if self.client else ""):
            self.refused = True
            transport.write(FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        if self.conn.their_state is h11.IDLE and not self.received:
            self.since = self.all.clock()
        before = self.conn.their_state, self.cycle
        super().data_received(data)
        if (self.conn.their_state, self.cycle) == before:
            self.received += len(data)
        else:
            self.begin()

    def on_response_complete(self) -> None:
        self.begin()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Let requests under way be answered, and wait `DRAIN_SECONDS` for half-sent ones."""
        self.draining = True
        super().shutdown()

    def begin(self) -> None:
        """Begin to measure the wait for the next request, or for the body of this one."""
        self.since = self.all.clock()
        self.received = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the server waits for the client to send a request or the rest of one."""
        if self.transport.is_closing() or self.flow.read_paused:
            return False
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def look(self, now: float) -> None:
        """Close the connection if its client takes too long to send or to read."""
        untaken = self.transport.get_write_buffer_size()
        if not untaken or untaken < self.untaken:
            self.taken_at = now
        self.untaken = untaken
        if now - self.taken_at > ANSWER_SECONDS:
            self.transport.abort()
        elif self.flow.read_paused:
            self.since, self.received = now, 0
        elif self.is_waiting and now - self.since > self.allowed_seconds:
            self.give_up()

    @property
    def allowed_seconds(self) -> float:
        """How long the client may take to send what the server waits for."""
        if self.conn.their_state is h11.IDLE:
            return HEAD_SECONDS
        if self.draining:
            return DRAIN_SECONDS
        return BODY_SECONDS + self.received / SLOWEST_BYTES_A_SECOND

    def give_up(self) -> None:
        """Close the connection; answer 408 if a request was begun and has no answer yet."""
        self._unset_keepalive_if_required()
        begun = self.received or self.conn.their_state is h11.SEND_BODY
        if begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(TIMED_OUT)
        self.transport.close()


def bounded_http(connections: Connections) -> type[BoundedHttp]:
    """Make the protocol of a server, which counts its connections."""
    return type("ServedHttp", (BoundedHttp,), {"all": connections})
