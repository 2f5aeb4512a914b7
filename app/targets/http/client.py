"""The HTTP client that all `http` jobs share: no cookies, no retries, no redirects of its own.

aiohttp's connector makes the connections: addresses through the guard, the race among them, TLS.
`HttpProtocol` speaks HTTP on them, and this module keeps them (docs/adr/0024, docs/adr/0038).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Iterator
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import cast
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from app.core.net.urls import MAX_ORIGINS, address
from app.deadline import Deadline
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
from app.timers import SharedTimers

KEEP_ALIVE_SECONDS = 3.0
"""How long an unused connection is kept: less than the 5 s after which common servers close an idle
one, which could happen just as a request is sent."""

MAX_KEPT = 512
"""The most unused connections; beyond that the one unused for longest is closed."""
KEPT_PART = 4
"""Unused connections may take one in so many of the process's file descriptors."""

BRIEFLY_SECONDS = 0.02
"""How long a server may take to answer TLS's closing handshake before its connection is dropped."""

OPENED_IN_A_TURN = 1
"""The most connections opened in one turn of the event loop; to open one takes longer than to send
a request."""

NO_TIMEOUTS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""The executor's deadline is around everything; aiohttp's would be rounded to whole seconds."""


@cache
def user_agent() -> str:
    """Return `tocsin/VERSION`."""
    try:
        return f"tocsin/{version('tocsin')}"
    except PackageNotFoundError:  # run from a copy of the sources
        return "tocsin/0"


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, with our protocol on each connection."""

    def __init__(self, options: Options, timers: SharedTimers) -> None:
        super().__init__(
            limit=0,
            resolver=GuardedResolver(options.guard),
            use_dns_cache=False,  # the guard tells its sockets what it resolved in the same task
            socket_factory=options.guard.make_socket,
        )
        # Not public, so what is made with it is checked; no other way leads to a protocol.
        loop = asyncio.get_running_loop()
        factory = partial(HttpProtocol, loop=loop, clock=options.clock, timers=timers)
        self._factory = cast("partial[ResponseHandler]", factory)


class Client:
    """Sends requests, and keeps each connection for a while for the next one to its origin."""

    def __init__(self, options: Options) -> None:
        """Open the client; must be called in the event loop that uses it."""
        self.loop = asyncio.get_running_loop()
        self.clock = options.clock
        self.timers = SharedTimers(self.loop)
        """The timers of time-outs, of which few pass."""
        self.connector = Connector(options, self.timers)
        self.kept: dict[Key, dict[HttpProtocol, None]] = {}
        """The unused connections, by origin and TLS settings; the one used last is last. Those of
        an origin may be none while some are used."""
        self.used_at: dict[HttpProtocol, float] = {}
        """When each of these was last used (monotonic seconds); the longest unused is first."""
        self.room_to_keep = limit() // KEPT_PART
        """The most unused connections that file descriptors allow."""
        self.upkeep: asyncio.Handle | None = None
        """The timer that closes connections unused for long."""
        self.connections_per_host = options.connections_per_host
        self.rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """With a limit on connections per host: one semaphore for each origin in use."""
        self.opening_limit = OpeningLimit(OPENED_IN_A_TURN)
        self.contexts = options.contexts
        self.plain = {verify: plain_context(verify=verify) for verify in (True, False)}
        # Done here, as either would make the first request some milliseconds late: the version is
        # read from the package's metadata, and a socket's first connection imports this codec.
        user_agent()
        "".encode("idna")
        self.asking_for = lru_cache(maxsize=MAX_ORIGINS)(asking_for)

    def __repr__(self) -> str:
        return f"<Client: {len(self.used_at)} unused connections to {len(self.kept)} origins>"

    async def close(self) -> None:
        """Close every connection."""
        if self.upkeep is not None:
            self.upkeep.cancel()
        await self.connector.close()

    def send(
        self,
        request: Request,
        answer: HttpAnswer,
        *,
        tls: TlsChoice,
        ends_at: float | None = None,
    ) -> Awaitable[None]:
        """Send the request once and wait for the answer, which is read into `answer`.

        `ends_at`: when the wait is over, in seconds of the event loop; None: never. A caller that
        stops waiting earlier, or meets an error, must have `answer` drop its connection.

        Raises:
            TimeoutError: the answer was not complete in time.
            aiohttp.ClientError, OSError: no connection, or no complete answer; see `failures`.
        """
        key, encoded = (request.address.place, tls), request.encoded()
        to_head = request.method == "HEAD"
        if self.connections_per_host:
            return self.exchange_inside(key, encoded, answer, to_head=to_head, ends_at=ends_at)
        protocol = self.take_kept(key)
        if protocol is not None:  # as most have one: without a coroutine
            return protocol.ask(encoded, answer, to_head=to_head, ends_at=ends_at)
        return self.exchange(key, encoded, answer, to_head=to_head, ends_at=ends_at)

    async def exchange(
        self,
        key: Key,
        encoded: bytes,
        answer: HttpAnswer,
        *,
        to_head: bool,
        ends_at: float | None,
    ) -> None:
        """Send the request on a kept connection or a new one, and wait for the answer."""
        with Deadline(self.loop, ends_at, timers=self.timers):
            protocol = await self.take_or_connect(key)
        await protocol.ask(encoded, answer, to_head=to_head, ends_at=ends_at)

    async def exchange_inside(
        self,
        key: Key,
        encoded: bytes,
        answer: HttpAnswer,
        *,
        to_head: bool,
        ends_at: float | None,
    ) -> None:
        """Do the same within the limit on connections per host."""
        with Deadline(self.loop, ends_at, timers=self.timers):
            async with self.room(key):
                await self.make_room(key)
                try:
                    await self.exchange(key, encoded, answer, to_head=to_head, ends_at=None)
                except BaseException:
                    answer.drop()  # while there is no room for another one
                    raise

    def room(self, key: Key) -> asyncio.Semaphore:
        """Return the semaphore that limits the connections to an origin."""
        return self.rooms.setdefault(key[0], asyncio.Semaphore(self.connections_per_host))

    async def make_room(self, key: Key) -> None:
        """Close unused connections to the origin with other TLS settings.

        Beside a new one these would exceed the limit on connections per host.
        """
        while (protocol := next(self.kept_beside(key), None)) is not None:
            self.forget(protocol)
            protocol.drop()
            await asyncio.sleep(0)  # its socket is closed in the next turn

    def kept_beside(self, key: Key) -> Iterator[HttpProtocol]:
        """Yield the unused connections to the same origin with other TLS settings."""
        for other, kept in self.kept.items():
            if other[0] == key[0] and other != key:
                yield from kept

    def take_kept(self, key: Key) -> HttpProtocol | None:
        """Take an unused connection on which the server has neither sent bytes nor closed.

        A request written to a closed connection may have been acted on, and so costs an attempt.
        Bytes that came before the request would be taken for its answer.
        """
        kept = self.kept.get(key)
        while kept:
            protocol, _ = kept.popitem()
            used_at = self.used_at.pop(protocol)
            if self.clock() - used_at <= KEEP_ALIVE_SECONDS and not protocol.has_news():
                return protocol
            protocol.drop()
        return None

    async def take_or_connect(self, key: Key) -> HttpProtocol:
        """Take an unused connection, or open one once `OpeningLimit` allows that."""
        while (protocol := self.take_kept(key)) is None and not self.opening_limit.allows_one():  # noqa: ASYNC110 - for a turn
            await asyncio.sleep(0)
        if protocol is not None:
            return protocol
        place, tls = key
        context = (
            self.plain[tls] if isinstance(tls, bool) else await self.contexts.find_context(tls)
        )
        forget_judged()
        connection = await self.connector.connect(self.asking_for(place, context), [], NO_TIMEOUTS)
        made = connection.protocol
        if not isinstance(made, HttpProtocol):
            connection.close()
            raise TypeError("aiohttp's connector makes its protocols in another way now")
        made.connection = connection
        made.key = key
        made.when_free = self.keep
        made.when_lost = self.forget
        return made

    async def make_ready(self, tls: TlsChoice) -> None:
        """Make the TLS context for a later request, even if others wait for theirs."""
        if not isinstance(tls, bool):
            await self.contexts.find_context(tls, patient=True)

    async def open(self, place: str, *, tls: TlsChoice) -> None:
        """Open a connection for the next request, unless one is unused or the limit is reached."""
        key = place, tls
        if not self.connections_per_host:
            self.keep_if_reusable(await self.take_or_connect(key))
        elif not (room := self.room(key)).locked():  # else one that is used now will be kept
            async with room:
                await self.make_room(key)
                self.keep_if_reusable(await self.take_or_connect(key))

    def keep_if_reusable(self, protocol: HttpProtocol) -> None:
        """Keep a connection for the next request, or drop a connection that cannot take one."""
        if protocol.is_reusable:
            self.keep(protocol)
        else:
            protocol.drop()

    def keep(self, protocol: HttpProtocol) -> None:
        """Keep a connection, which is reusable, for the next request."""
        self.used_at[protocol] = self.clock()
        kept = self.kept.get(protocol.key)
        if kept is None:
            kept = self.kept[protocol.key] = {}
        kept[protocol] = None
        if len(self.used_at) > min(MAX_KEPT, self.room_to_keep):
            self.close_oldest()
        if self.upkeep is None:
            self.upkeep = self.loop.call_later(KEEP_ALIVE_SECONDS, self.keep_up)

    def forget(self, protocol: HttpProtocol) -> None:
        """Remove a connection that is lost, or to be closed, from the unused ones."""
        self.used_at.pop(protocol, None)
        kept = self.kept.get(protocol.key)
        if kept is not None:
            kept.pop(protocol, None)
            if not kept:
                del self.kept[protocol.key]

    def close_oldest(self) -> None:
        """Close the connection unused for longest, with TLS's closing handshake."""
        protocol = next(iter(self.used_at))
        self.forget(protocol)
        if protocol.transport is not None:
            protocol.transport.close()
            self.loop.call_later(BRIEFLY_SECONDS, protocol.drop)  # whatever the other side says

    def keep_up(self) -> None:
        """Close connections that were unused for `KEEP_ALIVE_SECONDS`."""
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
        tls = True if form.ca is None else Tls(ca=form.ca)
        answer = HttpAnswer()
        try:
            await self.send(request, answer, tls=tls)
        except asyncio.CancelledError:
            answer.drop()
            raise
        except (aiohttp.ClientError, OSError) as error:
            reason, text = reason_and_error(error)
            if reason == "descriptors":
                raise OutOfDescriptors(text) from error
            if reason == "blocked":
                raise AuthFailed(text, retryable=False, reason=reason) from error
            raise AuthFailed(f"no token: {text}", retryable=True) from error
        return Answer(status=answer.final_status, body=bytes(answer.body))


class OpeningLimit:
    """Limits how many connections are opened in each turn of the event loop.

    Of a thousand jobs due at one instant the first could be answered before the last one has begun
    to connect. With few connections opened in a turn, later exchanges find unused ones instead.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.passed = 0
        self.loop = asyncio.get_running_loop()

    def allows_one(self) -> bool:
        """Return whether one more connection may be opened in this turn, and count it if so."""
        if self.passed >= self.most:
            return False
        if not self.passed:
            self.loop.call_soon(self.start_over)
        self.passed += 1
        return True

    def start_over(self) -> None:
        """Begin to count a new turn."""
        self.passed = 0


def plain_context(*, verify: bool) -> ssl.SSLContext:
    """Make the TLS context for targets without TLS settings."""
    context = tls_context(Tls(verify=verify))
    context.set_alpn_protocols(("http/1.1",))
    return context


def asking_for(place: str, tls: ssl.SSLContext) -> aiohttp.ClientRequest:
    """Make the object that tells aiohttp's connector where to connect; this request is not sent."""
    url = URL(place, encoded=True)
    return aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop(), ssl=tls)
