"""The two clients: the same calls, over one connection pool each, with and without `await`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tocsin.calls import Call, Listing, Sent, read, ready, written
from tocsin.errors import NotConnected, Unreachable
from tocsin.namespaces import AsyncItems, Calls, Items
from tocsin.settings import Settings, settings_for

if TYPE_CHECKING:
    import httpx2

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")

TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
PATIENCE_SECONDS = 30.0


class Tocsin(Calls["Tocsin"]):
    """A client of Tocsin's API.

    `url` and `key` are TOCSIN_URL and TOCSIN_API_KEY where they are left out. What fails on the
    way is sent again, up to `attempts` times within `patience_seconds`, if it is done once however
    often it is sent: reads, and whatever has an idempotency key, which the client makes.
    `timeout_seconds` is for each part of a request: to connect, to send, to wait for the answer.
    May be shared by threads.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.settings = settings_for(
            url, key, timeout=timeout_seconds, attempts=attempts, patience=patience_seconds
        )
        import httpx2

        self.http = httpx2.Client(headers=self.settings.headers, timeout=timeout_seconds)
        super().__init__(self)

    def __repr__(self) -> str:
        return f"<Tocsin at {self.settings.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call, again where that is safe, and return what is answered.

        Raises:
            TocsinError: the API refused, or did not answer.
        """
        import stamina

        call = ready(call, has_key=self.settings.key is not None)
        sent = written(call)
        for attempt in stamina.retry_context(**retrying(self.settings, call)):
            with attempt, answered(self.settings):
                answer = self.http.request(call.method, **arguments(self.settings, sent))
                return understood(self.settings, call, answer)
        raise AssertionError("the last attempt raises")

    def items(self, listing: Listing[AnswerT, ItemT]) -> Items[AnswerT, ItemT]:
        """Return a list, whose pages are asked for as one iterates."""
        return Items(self, listing)


class AsyncTocsin(Calls["AsyncTocsin"]):
    """As `Tocsin`, for asyncio: its calls are awaited, its lists go by `async for`."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.settings = settings_for(
            url, key, timeout=timeout_seconds, attempts=attempts, patience=patience_seconds
        )
        import httpx2

        self.http = httpx2.AsyncClient(headers=self.settings.headers, timeout=timeout_seconds)
        super().__init__(self)

    def __repr__(self) -> str:
        return f"<AsyncTocsin at {self.settings.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call, again where that is safe, and return what is answered.

        Raises:
            TocsinError: the API refused, or did not answer.
        """
        import stamina

        call = ready(call, has_key=self.settings.key is not None)
        sent = written(call)
        async for attempt in stamina.retry_context(**retrying(self.settings, call)):
            with attempt, answered(self.settings):
                answer = await self.http.request(call.method, **arguments(self.settings, sent))
                return understood(self.settings, call, answer)
        raise AssertionError("the last attempt raises")

    def items(self, listing: Listing[AnswerT, ItemT]) -> AsyncItems[AnswerT, ItemT]:
        """Return a list, whose pages are asked for as one iterates."""
        return AsyncItems(self, listing)


def retrying(settings: Settings, call: Call[Any]) -> dict[str, Any]:
    """Return how stamina tries a call."""
    keep_quiet()
    begun = time.monotonic()
    return {
        "on": lambda error: settings.retries(call, error, spent_seconds=time.monotonic() - begun),
        "attempts": settings.attempts,
        "timeout": settings.patience_seconds,
    }


@cache
def keep_quiet() -> None:
    """Have Python print no retry by itself where a program has set up no logs."""
    import logging

    logging.getLogger("stamina").addHandler(logging.NullHandler())


def arguments(settings: Settings, sent: Sent) -> dict[str, Any]:
    """Return what a request is made of."""
    return {
        "url": settings.url + sent.path,
        "params": sent.query or None,
        "headers": sent.headers,
        "content": sent.body,
    }


def understood(settings: Settings, call: Call[AnswerT], answer: "httpx2.Response") -> AnswerT:
    return read(
        call, answer.status_code, answer.headers, answer.content, url=settings.url + call.path
    )


@contextmanager
def answered(settings: Settings) -> Iterator[None]:
    """Translate errors of the transport.

    Raises:
        NotConnected: the request was not sent.
        Unreachable: it may have been.
    """
    import httpx2

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        message = f"{settings.url} does not answer: {error}: see that the API runs there"
        raise NotConnected(message) from error
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        said = str(error) or type(error).__name__
        message = f"{settings.url} gave no answer: {said}: what was asked may have been done"
        raise Unreachable(message) from error
