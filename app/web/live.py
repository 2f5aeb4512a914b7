"""Keeps an open page fresh: a stream of its live part, made once for all its viewers.

The part is read from the database at most once in `LOOK_SECONDS`, and not at all without viewers.
A stream has the newest version only, so that a slow client misses versions and nothing piles up.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import TypeVar
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Stream

from app.api.access import Caller, may_still_read
from app.api.problems import ApiRequest
from app.api.streams import Streams
from app.core.access.api_key import Scope
from app.errors import DatabaseUnavailable
from app.single_flight import SingleFlight
from app.timers import Monotonic

LOOK_SECONDS = 1.0
"""How old a live part may be before it is made anew."""
BEAT_SECONDS = 15.0
"""How often a stream sends a comment, and checks that its session or key may still read."""
RETRY_MILLISECONDS = 2000
"""How long a browser waits before it opens a broken stream again."""
SEEN = re.compile(r"[0-9a-f-]{1,2000}")
"""What versions are written in, with room for the pieces of the longest list."""

K = TypeVar("K", bound=Hashable)
Make = Callable[[], Awaitable[str]]
End = Callable[[], Awaitable[None]]


async def end_nothing() -> None:
    """End a part that keeps nothing of its own."""


class Part:
    """The live part of one page."""

    def __init__(self, make: Make, *, end: End = end_nothing, clock: Monotonic = monotonic) -> None:
        self.make = make
        self.end = end
        """Ends what the part keeps, once nobody looks at it any more."""
        self.clock = clock
        self.text = ""
        self.version = ""
        self.made_at = float("-inf")
        self.flight = SingleFlight()
        self.streams = 0
        """How many streams show the part."""

    def __repr__(self) -> str:
        return f"<Part: {self.streams} streams, version {self.version}>"

    async def read_fresh(self) -> str:
        """Return the part, made anew if it is older than `LOOK_SECONDS`.

        Raises:
            AppError: it has to be made and cannot.
        """
        await self.flight.run("part", self.is_fresh, self.renew)
        return self.text

    def is_fresh(self) -> bool:
        """Return whether the part was made within `LOOK_SECONDS`."""
        return self.clock() - self.made_at < LOOK_SECONDS

    async def renew(self) -> None:
        """Make the part."""
        began = self.clock()
        self.text = await self.make()
        self.version = sha256(self.text.encode()).hexdigest()[:16]
        self.made_at = began

    def news(self, seen: str) -> tuple[str, str] | None:
        """Return what a client that has `seen` is to be sent, and the version it has then.

        None: there is nothing new for it.
        """
        return None if self.version == seen else (self.text, self.version)


async def versions(
    part: Part, *, seen: str, is_allowed: Callable[[], Awaitable[bool]], ending: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """Stream the part whenever it is another one than `seen`, until `ending` or not allowed."""
    part.streams += 1
    try:
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
        said_at = asked_at = monotonic()
        was_told = False
        while not ending.is_set():
            try:
                await part.read_fresh()
            except DatabaseUnavailable:
                if not was_told:
                    yield event("", name="stale")
                was_told, said_at = True, monotonic()
            else:
                if news := part.news("" if was_told else seen):
                    text, seen = news
                    was_told, said_at = False, monotonic()
                    yield event(text, id=seen)
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
        part.streams -= 1


def event(data: str, *, id: str = "", name: str = "") -> bytes:
    """Write an event of a stream."""
    lines = [f"id: {id}"] if id else []
    lines += [f"event: {name}"] if name else []
    lines += [f"data: {line}" for line in data.splitlines() or [""]]
    return ("\n".join(lines) + "\n\n").encode()


async def while_watched(
    parts: dict[K, Part],
    key: K,
    begin: Callable[[], Part],
    sent: Callable[[Part], AsyncGenerator[bytes, None]],
) -> AsyncGenerator[bytes, None]:
    """Stream the live part of a job or a list; it is kept while any stream shows it."""
    part = parts.get(key) or parts.setdefault(key, begin())
    try:
        async with aclosing(sent(part)) as given:
            async for one in given:
                yield one
    finally:
        if not part.streams and parts.get(key) is part:
            del parts[key]
            await part.end()


@get("/live/jobs/{id:uuid}", opt={"scope": Scope.READ})
async def live_of_job(request: ApiRequest, state: State, id: FromPath[UUID]) -> Stream:
    """Stream the live part of a job's page."""
    sent = partial(versions_for, request, state)
    return stream(
        request, state, while_watched(state.job_parts, id, partial(state.watch, id), sent)
    )


@get("/live/{name:str}", opt={"scope": Scope.READ})
async def live(request: ApiRequest, state: State, name: FromPath[str]) -> Stream:
    """Stream the live part of a page."""
    parts: dict[str, Part] = state.parts
    if name not in parts:
        raise NotFoundException
    return stream(request, state, versions_for(request, state, parts[name]))


def versions_for(
    request: ApiRequest, state: State, part: Part, *, has: str = ""
) -> AsyncGenerator[bytes, None]:
    """Stream the versions of a part that the client has not seen; at first it `has` one."""
    is_allowed = partial(may_still_read, request)
    seen = read_seen(request.headers.get("Last-Event-ID", "")) or read_seen(has)
    return versions(part, seen=seen, is_allowed=is_allowed, ending=state.ending)


def read_seen(text: str) -> str:
    """Return the version that a client has seen; empty if it is none of ours.

    Parts of it go into the stream again, where a line break would begin a line of the client's.
    """
    return text if SEEN.fullmatch(text) else ""


def stream(request: ApiRequest, state: State, sent: AsyncGenerator[bytes, None]) -> Stream:
    """Answer with a stream of events.

    Raises:
        TooManyStreams: the caller has as many as one may have.
    """
    caller: Caller = request.scope["user"]
    streams: Streams = state.streams
    return Stream(
        streams.counted(sent, owner=caller.limited_as),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
