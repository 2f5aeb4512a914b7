"""What becomes of a request: it is judged, done unless it was, and answered."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

from tocsin.receiver.signatures import Delivery, Receiver, Rejected
from tocsin.receiver.stores import AsyncStore, Standing, Store

if TYPE_CHECKING:
    from asyncio import Future

TEXT = "text/plain; charset=utf-8"
UNDER_WAY = Rejected(425, "another attempt of this run is under way", retry_after=5)

Work = Callable[[Delivery], Any]
"""A function that does what a delivery is for. It returns None, a text, or what JSON can hold."""
AsyncWork = Callable[[Delivery], Any | Awaitable[Any]]
RUNNING: set["Future[Answer]"] = set()
"""What is done in threads, referred to until it ends."""


class Answer(Struct, frozen=True, kw_only=True):
    """What is answered."""

    status: int
    body: bytes = b""
    media_type: str = TEXT
    retry_after: int | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it says that the work is not done."""
        return self.status >= 400  # noqa: PLR2004

    @property
    def headers(self) -> dict[str, str]:
        """The headers beside those of the body's length."""
        more = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {"Content-Type": self.media_type, **more} if self.body else more


def answer(receiver: Receiver, headers: Mapping[str, str], body: bytes, work: Work) -> Answer:
    """Answer a request by doing its work, unless that is done; errors of the work go through."""
    store = cast("Store | None", receiver.store)
    if store is not None and iscoroutinefunction(store.begin):
        raise TypeError("this store has to be awaited: use one that has not, such as MemoryStore")
    try:
        delivery = receiver.verify(headers, body)
        if store is None:
            return answer_of(work(delivery))
        standing = store.begin(delivery.id, lease_seconds=receiver.lease_seconds)
        if standing is not Standing.NEW:
            return known(standing)
        try:
            found = answer_of(work(delivery))
        except BaseException:
            store.release(delivery.id)
            raise
        if found.is_failure:
            store.release(delivery.id)
        else:
            store.end(delivery.id, keep_seconds=receiver.keep_seconds)
    except Rejected as refusal:
        return refused(refusal)
    return found


async def answer_awaited(
    receiver: Receiver, headers: Mapping[str, str], body: bytes, work: AsyncWork
) -> Answer:
    """As `answer`, for coroutine functions; other functions are called in a thread."""
    import asyncio

    store = receiver.store
    try:
        delivery = receiver.verify(headers, body)
        if store is None:
            doing = answered(work, delivery)
        else:
            standing = await told(store.begin, delivery.id, lease_seconds=receiver.lease_seconds)
            if standing is not Standing.NEW:
                return known(standing)
            doing = finished(receiver, store, delivery, work)
        if iscoroutinefunction(work):
            return await doing
        # Where the request is cut off a thread goes on, and so does what remembers its run, or
        # hears how it failed.
        running = asyncio.ensure_future(doing)
        RUNNING.add(running)
        running.add_done_callback(RUNNING.discard)
        return await asyncio.shield(running)
    except Rejected as refusal:
        return refused(refusal)


async def answered(work: AsyncWork, delivery: Delivery) -> Answer:
    """Do the work of a delivery that nothing remembers."""
    return answer_of(await done(work, delivery))


async def finished(
    receiver: Receiver, store: Store | AsyncStore, delivery: Delivery, work: AsyncWork
) -> Answer:
    """Do the work of a run that has begun, and tell the store how that went."""
    import asyncio

    try:
        found = answer_of(await done(work, delivery))
    except BaseException as error:
        # A thread that is left behind still works: its lease says so.
        if iscoroutinefunction(work) or not isinstance(error, asyncio.CancelledError):
            await asyncio.shield(told(store.release, delivery.id))
        raise
    if found.is_failure:
        await asyncio.shield(told(store.release, delivery.id))
    else:
        await asyncio.shield(told(store.end, delivery.id, keep_seconds=receiver.keep_seconds))
    return found


async def done(work: AsyncWork, delivery: Delivery) -> Any:  # noqa: ANN401 - whatever it returns
    import asyncio

    if iscoroutinefunction(work):
        return await work(delivery)
    return await asyncio.to_thread(work, delivery)


async def told(method: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401
    """Call a method of a store; of one that is not awaited in a thread, as it may block."""
    import asyncio

    if iscoroutinefunction(method):
        return await method(*args, **options)
    return await asyncio.to_thread(method, *args, **options)


def known(standing: Standing) -> Answer:
    """Answer for a run that is not to be done now."""
    if standing is Standing.DONE:
        return Answer(status=200, body=b"done before")
    return refused(UNDER_WAY)


def refused(refusal: Rejected) -> Answer:
    return Answer(
        status=refusal.status, body=str(refusal).encode(), retry_after=refusal.retry_after
    )


def answer_of(value: Any) -> Answer:  # noqa: ANN401 - whatever the work returned
    """Make an answer of what the work returned."""
    match value:
        case None:
            return Answer(status=204)
        case Answer():
            return value
        case str():
            return Answer(status=200, body=value.encode())
        case _:
            return Answer(
                status=200, body=msgspec.json.encode(value), media_type="application/json"
            )
