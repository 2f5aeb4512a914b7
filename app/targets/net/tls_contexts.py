"""Makes TLS contexts in a thread beside the event loop, one at a time, and keeps them."""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor

from app.errors import AppError
from app.targets.net.tls import MAX_CONTEXTS, Tls, tls_context

MAX_WAITING = 8
"""The most contexts that are being made, as executions wait for them in their slots."""


class ContextsCrowded(AppError):
    """Too many contexts are being made already; nothing was sent."""

    def __init__(self, times: int) -> None:
        super().__init__("too many certificates are being loaded")
        self.times = times
        """How many callers in a row were refused."""


class Contexts:
    """The contexts of one event loop; the ones used last are kept."""

    def __init__(self) -> None:
        self.made: dict[Tls, ssl.SSLContext] = {}
        """The contexts that are kept; the one used last is last."""
        self.making: dict[Tls, asyncio.Future[ssl.SSLContext]] = {}
        """The contexts that are being made, or wait for the thread."""
        self.refused = 0
        """How many callers were refused since `making` was last empty."""
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="tls")

    def __repr__(self) -> str:
        return f"<Contexts: {len(self.made)} kept, {len(self.making)} being made>"

    async def find_context(self, tls: Tls, *, patient: bool = False) -> ssl.SSLContext:
        """Return the context for these settings, which is made unless it is kept.

        `patient`: have it made even while `MAX_WAITING` others are being made.

        Raises:
            ContextsCrowded: `MAX_WAITING` are being made, and the caller is not patient.
            BadPem: OpenSSL cannot use the texts; names the field.
        """
        context = self.made.pop(tls, None)
        if context is None:
            context = await asyncio.shield(self.making.get(tls) or self.begin(tls, patient=patient))
            self.made.pop(tls, None)
        self.made[tls] = context
        while len(self.made) > MAX_CONTEXTS:
            del self.made[next(iter(self.made))]
        return context

    def begin(self, tls: Tls, *, patient: bool) -> asyncio.Future[ssl.SSLContext]:
        """Begin to make a context, see `context`."""
        if len(self.making) >= MAX_WAITING and not patient:
            self.refused += 1
            raise ContextsCrowded(self.refused)
        loop = asyncio.get_running_loop()
        making = self.making[tls] = loop.run_in_executor(self.thread, tls_context, tls)

        def done(made: asyncio.Future[ssl.SSLContext]) -> None:
            del self.making[tls]
            if not self.making:
                self.refused = 0
            if not made.cancelled():
                made.exception()  # marks the error as seen: every caller may have gone

        making.add_done_callback(done)
        return making

    def close(self) -> None:
        """Make no more contexts, without waiting for the one under way."""
        self.thread.shutdown(wait=False, cancel_futures=True)
