"""One HTTP connection, on which one request and its answer are exchanged at a time."""

import asyncio
import select
from collections.abc import Callable

from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from app.targets.http.answer import AnswerReader, HttpAnswer, nothing_to_drop
from app.targets.http.failures import Closed, NotHttp
from app.targets.net.tls import Tls
from app.timers import Monotonic, SharedTimer, SharedTimers

MAX_EARLY_LENGTH = 65_536
"""The most bytes that a server may send on a new connection before a request."""

TlsChoice = Tls | bool
"""The TLS settings of a target that has some, or else whether to verify the server."""

Key = tuple[str, TlsChoice]
"""The `place` of the `Address` that a connection leads to, and its TLS settings."""

NEWS = select.POLLIN | select.POLLHUP | select.POLLERR
"""Events of a socket that make an idle connection unusable: data, the end, an error."""


class HttpProtocol(ResponseHandler):
    """A connection as aiohttp's connector makes it, but read by an `AnswerReader`.

    An answer counts from the moment at which the answer is complete: more bytes or a reset after
    that cost the connection and nothing else. A connection that cannot take another request is
    dropped at once, and nothing more is read from the server.
    """

    key: Key

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Monotonic, timers: SharedTimers
    ) -> None:
        super().__init__(loop)
        self.loop = loop
        self.clock = clock
        self.timer = SharedTimer(timers, self.time_out)
        """Ends the exchange under way when its time is over."""
        self.reader = AnswerReader()
        self.waiting: asyncio.Future[None] | None = None
        """The future of the exchange under way; None between exchanges."""
        self.is_asked = False
        """Whether a request was ever written."""
        self.early = b""
        """Bytes received before any request: some servers answer with a refusal right away."""
        self.is_reusable = True
        """Whether another request may be sent on the connection."""
        self.connection: Connection | None = None
        """The connector's object for this connection."""
        self.when_free: Callable[[HttpProtocol], None] | None = None
        """Called when the connection can take another request."""
        self.when_lost: Callable[[HttpProtocol], None] | None = None
        """Called once the connection is lost."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.poll = select.poll()
        self.poll.register(transport.get_extra_info("socket").fileno(), NEWS)

    def ask(
        self, encoded: bytes, answer: HttpAnswer, *, to_head: bool, ends_at: float | None
    ) -> asyncio.Future[None]:
        """Write a request; the future is done when its answer is complete in `answer`.

        The future's error is `NotHttp` or `Closed` if the answer cannot be complete, and
        `TimeoutError` if it is not by `ends_at`, in seconds of the event loop. A caller that stops
        waiting for the future must have `answer` drop the connection, which it does until it is
        complete.

        Raises:
            Closed: the connection is closed already; nothing was sent.
        """
        answer.drop = self.drop
        if self.transport is None:
            raise Closed
        if answer.sending is not None:
            answer.sending()
        self.reader.begin(answer, to_head=to_head)
        answer.asked_at = self.clock()
        self.is_asked = True
        self.waiting = waiting = self.loop.create_future()
        if ends_at is not None:
            self.timer.set(ends_at)
        self.transport.write(encoded)
        if self.early:
            early, self.early = self.early, b""
            self.data_received(early)
        return waiting

    def has_news(self) -> bool:
        """Return whether the server closed the connection or sent bytes since the last answer.

        The socket itself is asked, as the event loop may not have noticed yet.
        """
        if self.early or self.transport is None or self.transport.is_closing():
            return True
        return bool(self.poll.poll(0))

    def drop(self) -> None:
        """Close the connection at once, without TLS's closing handshake."""
        self.is_reusable = False
        if self.transport is not None:
            self.transport.abort()

    # The event loop's callbacks.

    def data_received(self, data: bytes) -> None:
        if self.waiting is None:
            self.hear_unasked(data)
            return
        try:
            self.reader.feed(data)
        except NotHttp as error:
            self.end(error)
        else:
            if self.reader.is_complete:
                self.end()

    def hear_unasked(self, data: bytes) -> None:
        """Keep bytes that came before the first request; after it, drop the connection.

        Bytes between two exchanges must never count as the answer to the later request.
        """
        self.is_reusable = False
        if self.is_asked or len(self.early) + len(data) > MAX_EARLY_LENGTH:
            self.drop()
        else:
            self.early += data

    def eof_received(self) -> None:
        self.hear_end()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.hear_end()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
        when_lost, self.when_lost = self.when_lost, None
        if when_lost is not None:
            when_lost(self)

    def hear_end(self) -> None:
        """Note that the server has closed the connection, which may complete an answer."""
        self.is_reusable = False
        if self.waiting is None:
            return
        try:
            self.reader.feed_eof()
        except Closed as error:
            self.end(error)
        else:
            self.end()

    def time_out(self) -> None:
        """End the exchange under way, whose time is over."""
        self.end(TimeoutError())

    def end(self, error: Exception | None = None) -> None:
        """End the exchange: resolve its future, and drop the connection unless it is reusable."""
        self.timer.cancel()
        waiting, self.waiting = self.waiting, None
        if waiting is None or waiting.done():  # whoever waited has given up
            self.drop()
        elif error is not None:
            self.drop()
            waiting.set_exception(error)
        else:
            self.reader.answer.drop = nothing_to_drop  # the next request may be another's
            self.free_or_drop()
            waiting.set_result(None)

    def free_or_drop(self) -> None:
        """Offer the connection for another exchange after one that is complete, or drop it."""
        reader, transport = self.reader, self.transport
        self.is_reusable = (
            reader.lasts
            and reader.is_clean
            and transport is not None
            and not transport.get_write_buffer_size()
        )
        if self.is_reusable and self.when_free is not None:
            self.when_free(self)
        else:
            self.drop()
