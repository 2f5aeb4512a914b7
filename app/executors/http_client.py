"""The HTTP client that all `http` jobs share: no state between them, no sending unasked.

Connections, their pool, TLS and the parser of answers are aiohttp's; its session is left out. That
repeats requests, follows redirects and keeps cookies, and costs five times what is left here (see
docs/adr/0024).
"""

import asyncio
import select
import socket
import ssl
from collections import Counter
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from types import TracebackType
from typing import Self
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import EmptyStreamReader, StreamReader
from yarl import URL

from app.auth.base import Answer, AuthFailed, Form
from app.auth.tls import Tls, tls_context
from app.core.urls import MOST_ORIGINS, address
from app.executors.base import Options
from app.executors.guard import GuardedResolver, forget
from app.executors.http_failures import NotHttp, reason_and_error
from app.executors.http_rules import Request

LONGEST_RESPONSE = 16_384
"""Bytes of an answer's body that are read; upon more the connection is closed."""

KEEP_ALIVE_SECONDS = 3.0
"""Below the 5 s after which common servers close an idle connection, maybe upon our request."""

BRIEFLY_SECONDS = 0.02
"""Nobody closes a connection that has been idle for so short a time."""

OPENED_IN_A_TURN = 1
"""Connections; to open one takes longer than to send a request on it."""

NO_TIMEOUTS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""One deadline, the executor's, is around everything; aiohttp's own is rounded to whole seconds."""

SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200

TlsChoice = ssl.SSLContext | bool
"""What to connect with, or whether to verify who answers."""


@cache
def user_agent() -> str:
    """`tocsin/VERSION`."""
    try:
        return f"tocsin/{version('tocsin')}"
    except PackageNotFoundError:  # run from a copy of the sources
        return "tocsin/0"


class Client:
    """Connections to everybody, each kept for a while for the next request to the same origin."""

    def __init__(self, options: Options) -> None:
        """Open the client; must be called in the event loop that uses it."""
        self.connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=options.connections_per_host,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            resolver=GuardedResolver(options.guard),
            use_dns_cache=False,  # the guard tells its sockets what it resolved in the same task
            socket_factory=options.guard.make_socket,
        )
        self.used_at: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()
        """When each connection was given back, monotonic seconds; a new one never was."""
        self.kept: Counter[tuple[URL, TlsChoice]] = Counter()
        """About how many wait for the next request; some may have been closed since."""
        self.turnstile = Turnstile(OPENED_IN_A_TURN)
        # What would make the first request some milliseconds late: the version is read from the
        # package's metadata, and a socket imports this codec when it is first connected.
        user_agent()
        "".encode("idna")
        self.asking_for = lru_cache(maxsize=MOST_ORIGINS)(asking_for)

    async def close(self) -> None:
        """Close every connection."""
        await self.connector.close()

    def sent(self, request: Request, *, tls: TlsChoice) -> "Exchange":
        """Send the request, once, upon entering what this returns."""
        return Exchange(self, request, tls)

    async def connection(self, origin: URL, tls: TlsChoice) -> Connection:
        """Take a kept connection, or make one.

        A kept one that the other side has closed meanwhile is not used: what is written to it might
        as well have been read and acted on, so it would cost an attempt.
        """
        key = origin, tls
        while True:
            while not self.kept[key] and not self.turnstile.lets_through():  # noqa: ASYNC110 - for a turn
                await asyncio.sleep(0)
            forget()
            connection = await self.connector.connect(self.asking_for(origin, tls), [], NO_TIMEOUTS)
            protocol = connection.protocol
            idle_since = None if protocol is None else self.used_at.get(protocol)
            if protocol is None or idle_since is None:
                del self.kept[key]
                return connection
            self.kept[key] = max(self.kept[key] - 1, 0)
            if not has_news(protocol, idle_seconds=monotonic() - idle_since):
                return connection
            connection.close()

    async def open(self, origin: URL, *, tls: TlsChoice) -> None:
        """See to it that a connection is kept for the next request."""
        self.give_back(await self.connection(origin, tls), origin, tls)

    def give_back(self, connection: Connection, origin: URL, tls: TlsChoice) -> None:
        """Keep the connection for the next, unless there is more to come on it."""
        protocol = connection.protocol
        if protocol is not None and not protocol.should_close:
            self.used_at[protocol] = monotonic()
            if len(self.kept) > MOST_ORIGINS:
                self.kept.clear()  # a guess may be forgotten; hosts called once must not add up
            self.kept[origin, tls] += 1
        connection.release()

    async def posted(self, form: Form) -> Answer:
        """Post a form, to one who hands out what requests prove themselves with.

        Raises:
            AuthFailed: there is no answer.
        """
        request = Request(
            method="POST",
            address=address(form.url),
            headers={
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": user_agent(),
                "Content-Type": "application/x-www-form-urlencoded",
                **form.headers,
            },
            body=urlencode(form.fields).encode(),
        )
        try:
            tls = True if form.ca is None else tls_context(Tls(ca=form.ca))
            async with self.sent(request, tls=tls) as exchange:
                return Answer(status=exchange.status, body=await exchange.first_bytes())
        except (aiohttp.ClientError, OSError) as error:
            reason, text = reason_and_error(error)
            if reason == "blocked":
                raise AuthFailed(text, retryable=False, reason=reason) from error
            raise AuthFailed(f"no token: {text}", retryable=True) from error


class Turnstile:
    """Lets only a few through in each turn of the event loop.

    Of a thousand jobs due at one instant the first could be answered before the last slot has begun
    to connect. So few connections are opened in a turn, and whoever comes next finds one kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.passed = 0
        self.loop = asyncio.get_running_loop()

    def lets_through(self) -> bool:
        """Whether one more may pass in this turn; it has passed then."""
        if self.passed >= self.most:
            return False
        if not self.passed:
            self.loop.call_soon(self.start_over)
        self.passed += 1
        return True

    def start_over(self) -> None:
        self.passed = 0


class Exchange:
    """One request and its answer; inside its context the answer's head has arrived."""

    connection: Connection
    message: RawResponseMessage
    content: StreamReader | EmptyStreamReader

    def __init__(self, client: Client, request: Request, tls: TlsChoice) -> None:
        self.client = client
        self.request = request
        self.tls = tls

    @property
    def status(self) -> int:
        return self.message.code

    def header(self, name: str) -> str | None:
        """The value of a header of the answer, in whatever case its name is."""
        return self.message.headers.get(name)

    async def __aenter__(self) -> Self:
        encoded = self.request.encoded()
        self.connection = await self.client.connection(self.request.address.origin, self.tls)
        try:
            await self.exchange(encoded)
        except BaseException:
            self.connection.close()
            raise
        return self

    async def exchange(self, encoded: bytes) -> None:
        """Write the request and wait for the head of its answer."""
        protocol = self.connection.protocol
        if protocol is None or protocol.transport is None:
            raise aiohttp.ClientConnectionError("closed before the request was sent")
        protocol.set_response_params(
            skip_payload=self.request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,  # a kilobyte may stand for a gigabyte
            read_bufsize=LONGEST_RESPONSE,
        )
        protocol.transport.write(encoded)
        try:
            self.message, self.content = await protocol.read()
            while is_interim(self.status):
                self.message, self.content = await protocol.read()
        except HttpProcessingError as error:
            raise NotHttp(" ".join(error.message.split())) from error

    async def first_bytes(self) -> bytes:
        """Read what is kept of the body."""
        content = self.content
        if content.at_eof():
            return b""
        kept = await content.read(LONGEST_RESPONSE + 1)
        while not content.at_eof() and len(kept) <= LONGEST_RESPONSE:
            kept += await content.read(LONGEST_RESPONSE + 1 - len(kept))
        return kept[:LONGEST_RESPONSE]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        transport = self.connection.transport
        if error is None and transport is not None and not transport.get_write_buffer_size():
            self.client.give_back(self.connection, self.request.address.origin, self.tls)
        else:
            self.connection.close()


def is_interim(status: int) -> bool:
    """Whether the answer proper is still to come (RFC 9110, 15.2)."""
    return status < FIRST_FINAL_STATUS and status != SWITCHING_PROTOCOLS


def asking_for(origin: URL, tls: TlsChoice) -> aiohttp.ClientRequest:
    """Say to the connector whom to connect to and how; nothing of it is sent."""
    return aiohttp.ClientRequest("GET", origin, loop=asyncio.get_running_loop(), ssl=tls)


def has_news(protocol: ResponseHandler, *, idle_seconds: float) -> bool:
    """Whether an idle connection was closed or spoken on unasked, maybe unnoticed by the loop."""
    if protocol.should_close:
        return True
    transport = protocol.transport
    sock: socket.socket | None = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    if idle_seconds < BRIEFLY_SECONDS:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
