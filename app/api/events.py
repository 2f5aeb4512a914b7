"""The stream of events: executions, as they are recorded."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Annotated, Literal

from litestar import get
from litestar.datastructures import State
from litestar.params import HeaderParameter
from litestar.response import Stream

from app.api.access import Caller, may_still_read
from app.api.feed import LOOK_SECONDS, Feed, Listener, written
from app.api.problems import ApiRequest
from app.api.streams import Streams
from app.core.access.api_key import Scope
from app.db import events
from app.db.events import MAX_AT_ONCE
from app.errors import AppError
from app.wire.events import Snapshot

EVENTS = "text/event-stream"
BEAT_SECONDS = 15.0
"""How often a stream says that it is there, and looks whether its key still is."""
RETRY_MILLISECONDS = 3000
OVERLAP = timedelta(seconds=10)
"""What ended so shortly before a stream was lost is told again."""
PLACE = re.compile(r"(\d{1,18})-(\d{1,10})")
MANY_AT_ONCE = 100
"""Events that are sent together."""

LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", description="The id of the last event: go on from it."),
]


@get(
    "/events",
    include_in_schema=False,  # clients that are made of the description wait for an end
    media_type=EVENTS,
    opt={"scope": Scope.READ, "answer": EVENTS},
)
async def stream_events(
    request: ApiRequest, state: State, last_event_id: LastEventId = None
) -> Stream:
    """Server-sent events: `snapshot` first, and where events were left out; `execution` for each.

    After a loss the stream goes on from `Last-Event-ID`, on whichever process; what was just told
    may be told again.
    """
    is_allowed = partial(may_still_read, request)
    sent = streamed(state.feed, last_event_id or "", is_allowed=is_allowed, ending=state.ending)
    caller: Caller = request.scope["user"]
    streams: Streams = state.streams
    return Stream(
        streams.counted(sent, owner=caller.limited_as),
        media_type=EVENTS,
        headers={"X-Accel-Buffering": "no"},
    )


async def streamed(
    feed: Feed, last: str, *, is_allowed: Callable[[], Awaitable[bool]], ending: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """Stream events to one client, until `ending` or not allowed."""
    listener = feed.join()
    try:
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
        begun, skip = False, frozenset[int]()
        said_at = asked_at = monotonic()
        while not ending.is_set():
            try:
                await feed.look_if_due()
                if not begun:
                    first, skip = await read_beginning(feed, last)
                    begun = True
                    yield first
                    said_at = monotonic()
            except AppError:
                pass  # heartbeats go on, and what is recorded meanwhile is told after that
            for batch in batches(feed, listener, skip) if begun else ():
                said_at = monotonic()
                yield batch
            now = monotonic()
            if now - said_at >= BEAT_SECONDS:
                said_at = now
                yield b":\n\n"
            if now - asked_at >= BEAT_SECONDS:
                asked_at = now
                if not await is_allowed():
                    return
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await ending.wait()
            except TimeoutError:
                pass
    finally:
        feed.leave(listener)


async def read_beginning(feed: Feed, last: str) -> tuple[bytes, frozenset[int]]:
    """Return what a stream begins with, and the numbers of the executions that are in it."""
    place = PLACE.fullmatch(last)
    if place is None:
        return snapshot(feed, "begin"), frozenset()
    after = int(place[1])
    since = datetime.fromtimestamp(int(place[2]), UTC) - OVERLAP
    missed = await events.list_since(feed.db, after=after, since=since)
    if len(missed) > MAX_AT_ONCE or after > feed.places[-1]:
        return snapshot(feed, "gap"), frozenset()
    told = b"".join(written(one, place=feed.place) for one in missed)
    return told or b":\n\n", frozenset(one.id for one in missed)


def batches(feed: Feed, listener: Listener, skip: frozenset[int]) -> list[bytes]:
    """Return what waits for a client, some events together."""
    if listener.overflowed:
        listener.overflowed = False
        listener.take()
        return [snapshot(feed, "overflow")]
    sent = [one.text for one in listener.take() if one.id not in skip]
    return [
        b"".join(sent[start : start + MANY_AT_ONCE]) for start in range(0, len(sent), MANY_AT_ONCE)
    ]


def snapshot(feed: Feed, why: Literal["begin", "overflow", "gap"]) -> bytes:
    """Write the event that has a client read anew what it shows."""
    at = feed.at or datetime.now(UTC)
    return written(Snapshot(why=why, at=at, upto=feed.places[-1]), place=feed.place)
