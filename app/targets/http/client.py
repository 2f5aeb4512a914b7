"""The HTTP client that all `http` jobs share: no state between them, no sending unasked.

Connections are made by aiohttp's connector: names through the guard, the race of addresses, TLS. On
them speaks a protocol of our own, and they are kept here (docs/adr/0024, docs/adr/0038).
"""

import asyncio
import ssl
from collections.abc import Awaitable
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import cast
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from app.core.net.urls import MAX_ORIGINS, address
from app.descriptors import OutOfDescriptors, limit
from app.targets.auth.base import Answer, AuthFailed, Form
from app.targets.base import Options
from app.targets.http.answer import HttpAnswer
from app.targets.http.failures import reason_and_error
from app.targets.http.protocol import HttpProtocol, Key, TlsChoice
from app.targets.http.rules import Request
from app.targets.net.guard import GuardedResolver
from app.targets.net.guard import forget as forget_judged
from app.targets.net.tls import Tls, tls_context

KEEP_ALIVE_SECONDS = 3.0
"""Below the 5 s after which common servers close an idle connection, maybe upon our request."""

MAX_KEPT = 512
"""Connections that wait for another request; beyond it the one that waits longest is closed."""
KEPT_PART = 4
"""Kept connections take at most one in so many of the file descriptors."""

BRIEFLY_SECONDS = 0.02
"""How long the other side may take to hear that a connection is closed."""

OPENED_IN_A_TURN = 1
"""Connections; to open one takes longer than to send a request on it."""

NO_TIMEOUTS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""One deadline, the executor's, is around everything; aiohttp's own is rounded to whole seconds."""


@cache
def user_agent() -> str:
    """`tocsin/VERSION`."""
    try:
        return f"tocsin/{version('tocsin')}"
    except PackageNotFoundError:  # run from a copy of the sources
        return "tocsin/0"


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, with our protocol on each connection."""

    def __init__(self, options: Options) -> None:
        super().__init__(
            limit=0,
            resolver=GuardedResolver(options.guard),
            use_dns_cache=False,  # the guard tells its sockets what it resolved in the same task
            socket_factory=options.guard.make_socket,
        )
        # Not public, so what is made with it is checked; no other way leads to a protocol.
        factory = partial(HttpProtocol, loop=asyncio.get_running_loop(), clock=options.clock)
        self._factory = cast("partial[ResponseHandler]", factory)


class Client:
    """Connections to everybody, each kept for a while for the next request to the same origin."""

    def __init__(self, options: Options) -> None:
        """Open the client; must be called in the event loop that uses it."""
        self.loop = asyncio.get_running_loop()
        self.clock = options.clock
        self.connector = Connector(options)
        self.kept: dict[Key, dict[HttpProtocol, None]] = {}
        """Connections that wait for the next request; the one used last is last."""
        self.used_at: dict[HttpProtocol, float] = {}
        """When each was given back (monotonic seconds); the one that waited longest is first."""
        self.room_to_keep = limit() // KEPT_PART
        self.upkeep: asyncio.Handle | None = None
        self.connections_per_host = options.connections_per_host
        self.rooms: WeakValueDictionary[URL, asyncio.Semaphore] = WeakValueDictionary()
        """The limits on connections to the origins that are being called, where there is a
        limit."""
        self.turnstile = Turnstile(OPENED_IN_A_TURN)
        self.contexts = options.contexts
        self.plain = {verify: plain_context(verify=verify) for verify in (True, False)}
        # What would make the first request some milliseconds late: the version is read from the
        # package's metadata, and a socket imports this codec when it is first connected.
        user_agent()
        "".encode("idna")
        self.asking_for = lru_cache(maxsize=MAX_ORIGINS)(asking_for)

    async def close(self) -> None:
        """Close every connection."""
        if self.upkeep is not None:
            self.upkeep.cancel()
        await self.connector.close()

    def send(self, request: Request, answer: HttpAnswer, *, tls: TlsChoice) -> Awaitable[None]:
        """Send the request, once; `answer` fills meanwhile, and is complete afterwards."""
        key = request.address.origin, tls
        if self.connections_per_host:
            return self.exchange_inside(key, request, answer)
        return self.exchange(key, request, answer)

    async def exchange(self, key: Key, request: Request, answer: HttpAnswer) -> None:
        encoded = request.encoded()
        protocol = self.taken(key)
        if protocol is None:
            protocol = await self.connection(key)
        try:
            await protocol.ask(encoded, answer, to_head=request.method == "HEAD")
        except BaseException:
            protocol.drop()
            raise
        self.give_back(protocol)

    async def exchange_inside(self, key: Key, request: Request, answer: HttpAnswer) -> None:
        """Exchange with few others at a time; make a connection where none is kept."""
        async with self.room(key):
            await self.make_room(key)
            await self.exchange(key, request, answer)

    def room(self, key: Key) -> asyncio.Semaphore:
        """Return what each connection to an origin is used inside of, where they are limited."""
        return self.rooms.setdefault(key[0], asyncio.Semaphore(self.connections_per_host))

    async def make_room(self, key: Key) -> None:
        """Close what is kept to the origin with other TLS, which would count beside a new one."""
        while other := next((one for one in self.kept if one[0] == key[0] and one != key), None):
            protocol = next(iter(self.kept[other]))
            self.forget(protocol)
            protocol.drop()
            await asyncio.sleep(0)  # its socket is closed in the next turn

    def taken(self, key: Key) -> HttpProtocol | None:
        """Take a kept connection that its other side has left alone.

        What is written to one that is closed might as well have been read and acted on, so it would
        cost an attempt; and what was said on one unasked would be taken for the answer.
        """
        while kept := self.kept.get(key):
            protocol = next(reversed(kept))
            used_at = self.used_at[protocol]
            self.forget(protocol)
            if self.clock() - used_at <= KEEP_ALIVE_SECONDS and not protocol.has_news():
                return protocol
            protocol.drop()
        return None

    async def connection(self, key: Key) -> HttpProtocol:
        """Take a connection that is kept or given back by now, or make one."""
        while (protocol := self.taken(key)) is None and not self.turnstile.lets_through():  # noqa: ASYNC110 - for a turn
            await asyncio.sleep(0)
        if protocol is not None:
            return protocol
        origin, tls = key
        context = self.plain[tls] if isinstance(tls, bool) else await self.contexts.context(tls)
        forget_judged()
        connection = await self.connector.connect(self.asking_for(origin, context), [], NO_TIMEOUTS)
        made = connection.protocol
        if not isinstance(made, HttpProtocol):
            connection.close()
            raise TypeError("aiohttp's connector makes its protocols in another way now")
        made.connection = connection
        made.key = key
        made.when_lost = self.forget
        return made

    async def make_ready(self, tls: TlsChoice) -> None:
        """Make the context that a later request needs, however long it takes to be its turn."""
        if not isinstance(tls, bool):
            await self.contexts.context(tls, patient=True)

    async def open(self, origin: URL, *, tls: TlsChoice) -> None:
        """See to it that a connection is kept for the next request, if another is allowed."""
        key = origin, tls
        if not self.connections_per_host:
            self.give_back(await self.connection(key))
        elif not (room := self.room(key)).locked():  # else one that is used now will be kept
            async with room:
                await self.make_room(key)
                self.give_back(await self.connection(key))

    def give_back(self, protocol: HttpProtocol) -> None:
        """Keep the connection for the next request, if it can take one."""
        if not protocol.is_reusable:
            protocol.drop()
            return
        self.used_at[protocol] = self.clock()
        self.kept.setdefault(protocol.key, {})[protocol] = None
        if len(self.used_at) > min(MAX_KEPT, self.room_to_keep):
            self.close_oldest()
        if self.upkeep is None:
            self.upkeep = self.loop.call_later(KEEP_ALIVE_SECONDS, self.keep_up)

    def forget(self, protocol: HttpProtocol) -> None:
        """Keep it no more."""
        if self.used_at.pop(protocol, None) is None:
            return
        kept = self.kept[protocol.key]
        del kept[protocol]
        if not kept:
            del self.kept[protocol.key]

    def close_oldest(self) -> None:
        """Close the connection that has waited longest, with a goodbye where TLS wants one."""
        protocol = next(iter(self.used_at))
        self.forget(protocol)
        if protocol.transport is not None:
            protocol.transport.close()
            self.loop.call_later(BRIEFLY_SECONDS, protocol.drop)  # whatever the other side says

    def keep_up(self) -> None:
        """Close connections that were unused for long."""
        self.upkeep = None
        while self.used_at:
            left = next(iter(self.used_at.values())) + KEEP_ALIVE_SECONDS - self.clock()
            if left > 0:
                self.upkeep = self.loop.call_later(left, self.keep_up)
                return
            self.close_oldest()

    async def post(self, form: Form) -> Answer:
        """Post a form to a token server, and return its answer.

        Raises:
            AuthFailed: there is no answer, or the guard forbids the address.
            OutOfDescriptors: no file descriptor is left for a connection; nothing was sent.
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
            tls = True if form.ca is None else Tls(ca=form.ca)
            answer = HttpAnswer()
            await self.send(request, answer, tls=tls)
        except (aiohttp.ClientError, OSError) as error:
            reason, text = reason_and_error(error)
            if reason == "descriptors":
                raise OutOfDescriptors(text) from error
            if reason == "blocked":
                raise AuthFailed(text, retryable=False, reason=reason) from error
            raise AuthFailed(f"no token: {text}", retryable=True) from error
        return Answer(status=answer.final_status, body=bytes(answer.body))


class Turnstile:
    """Lets only a few through in each turn of the event loop.

    Of a thousand jobs due at one instant the first could be answered before the last slot has begun
    to connect. So few connections are opened in a turn, and the next exchanges find some kept.
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


def plain_context(*, verify: bool) -> ssl.SSLContext:
    """Make a context for servers about whose TLS nothing is special."""
    context = tls_context(Tls(verify=verify))
    context.set_alpn_protocols(("http/1.1",))
    return context


def asking_for(origin: URL, tls: ssl.SSLContext) -> aiohttp.ClientRequest:
    """Say to the connector whom to connect to and how; nothing of it is sent."""
    return aiohttp.ClientRequest("GET", origin, loop=asyncio.get_running_loop(), ssl=tls)
