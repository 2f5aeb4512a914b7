"""Receives the pings of checks: cheap, bounded, and without a way to disturb others.

Whoever knows a check's address may ping it, so no key is asked for. What a stranger sends costs at
most one look-up by the token's digest, on connections that nothing else of the API uses.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from time import monotonic

from litestar import HttpMethod, Response, Router, route
from litestar.datastructures import CacheControlHeader, State
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from app.api.problems import ApiRequest
from app.api.rate_limit import address_of
from app.core.checks.ping import MAX_BODY_BYTES, Ping, as_text, digest_of, read_ping
from app.db import Database, checks
from app.db.connections import OF_PINGS
from app.timers import Monotonic

MAX_AT_ONCE = 5
"""Pings of one address that may be in progress at once; each has to wait for the one before."""
BODY_SECONDS = 5.0
"""How long the body of a ping is waited for: what came by then is kept."""
METHODS = (HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT)
MINUTE_SECONDS = 60.0
UNKNOWN_A_MINUTE = 60
"""How many pings with unknown tokens one client may send in a minute."""
MAX_COUNTED = 10_000
"""How many clients are counted, and how many tokens are remembered as known."""


class Answer(StrEnum):
    """What became of a ping."""

    OK = "ok"
    UNKNOWN = "unknown"
    """No check has the token."""
    LIMITED = "limited"
    """Too many came; this one was not taken."""


class Strangers:
    """Counts by client the pings for which there is no check, in each minute."""

    def __init__(self, clock: Monotonic) -> None:
        self.clock = clock
        self.counts = Counter[str]()
        self.began_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Strangers: {len(self.counts)}>"

    def note(self, client: str) -> None:
        """Count a ping; of more clients than `MAX_COUNTED` no further ones are counted."""
        if self.clock() - self.began_at >= MINUTE_SECONDS:
            self.counts.clear()
            self.began_at = self.clock()
        if client in self.counts or len(self.counts) < MAX_COUNTED:
            self.counts[client] += 1

    def are_too_many(self, client: str) -> bool:
        """Return whether a client has sent too many in this minute."""
        this_minute = self.clock() - self.began_at < MINUTE_SECONDS
        return this_minute and self.counts[client] >= UNKNOWN_A_MINUTE


class Receiver:
    """Takes pings, those of one check one after the other.

    A token that nobody knows costs one look-up, of which one is made at a time, and a client that
    sends many of them is refused. Neither concerns the tokens of checks that were pinged before.
    """

    def __init__(self, db: Database, *, clock: Monotonic = monotonic) -> None:
        self.db = db
        self.under_way = Counter[bytes]()
        """How many pings are in progress, by the digest of their token."""
        self.turns: dict[bytes, asyncio.Lock] = {}
        self.known: dict[bytes, None] = {}
        """The digests of tokens that checks have, the latest last."""
        self.strangers = Strangers(clock)
        self.looking_up = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Receiver: {self.under_way.total()} pings of {len(self.under_way)} checks>"

    async def take(self, digest: bytes, ping: Ping, body: str, *, client: str) -> Answer:
        """Take a ping, unless too many come, and say what became of it.

        Raises:
            DatabaseUnavailable: the ping could not be taken.
        """
        if self.under_way[digest] >= MAX_AT_ONCE:
            return Answer.LIMITED
        self.under_way[digest] += 1
        try:
            if digest not in self.known:
                if self.strangers.are_too_many(client):
                    return Answer.LIMITED
                async with self.looking_up:
                    if self.strangers.are_too_many(client):  # by what came before it in the queue
                        return Answer.LIMITED
                    if not await checks.is_token(self.db, digest):
                        self.strangers.note(client)
                        return Answer.UNKNOWN
            async with self.turns.setdefault(digest, asyncio.Lock()):
                answer = Answer(await checks.ping(self.db, digest, ping, body))
        finally:
            self.under_way[digest] -= 1
            if not self.under_way[digest]:
                del self.under_way[digest]
                self.turns.pop(digest, None)
        self.known.pop(digest, None)
        if answer is Answer.UNKNOWN:  # deleted, or of another kind by now
            self.strangers.note(client)
            return answer
        self.known[digest] = None
        if len(self.known) > MAX_COUNTED:
            del self.known[next(iter(self.known))]
        return answer


@asynccontextmanager
async def receiving(url: str, *, application_name: str) -> AsyncIterator[Receiver]:
    """Open the connections of pings until the body ends."""
    async with Database.connect(
        url, application_name=application_name, max_connections=OF_PINGS
    ) as db:
        yield Receiver(db)


@route("/{token:str}", http_method=METHODS, include_in_schema=False)
async def take_success(request: ApiRequest, token: FromPath[str], state: State) -> Response[str]:
    """Take the ping that says that a run has succeeded."""
    return await take(request, state.receiver, token, "")


@route("/{token:str}/{word:str}", http_method=METHODS, include_in_schema=False)
async def take_word(
    request: ApiRequest, token: FromPath[str], word: FromPath[str], state: State
) -> Response[str]:
    """Take a ping that says start, fail or log, or an exit code."""
    return await take(request, state.receiver, token, word)


async def take(request: ApiRequest, receiver: Receiver, token: str, word: str) -> Response[str]:
    """Answer a ping.

    Raises:
        NotFoundException: no check has the token, or there is no such ping.
        HTTPException: 429, the check got too many pings.
        DatabaseUnavailable: the ping could not be taken, and should be sent again.
    """
    digest, ping = digest_of(token), read_ping(word)
    if digest is None or ping is None:
        raise NotFoundException
    body = as_text(await read_beginning(request))
    answer = await receiver.take(digest, ping, body, client=address_of(request))
    if answer is Answer.UNKNOWN:
        raise NotFoundException
    if answer is Answer.LIMITED:
        message = "too many pings came: each check takes sixty a minute"
        raise HTTPException(detail=message, status_code=429, headers={"RateLimit-Reset": "60"})
    return Response("OK\n", media_type="text/plain", status_code=200)


async def read_beginning(request: ApiRequest) -> bytes:
    """Return the beginning of a body, however long the body is, or as much as came in time."""
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                read += part
                if len(read) >= MAX_BODY_BYTES:
                    break
    except (TimeoutError, HTTPException):
        pass
    return bytes(read[:MAX_BODY_BYTES])


def pings() -> Router:
    """Return the routes of pings."""
    return Router(
        "/ping",
        route_handlers=[take_success, take_word],
        cache_control=CacheControlHeader(no_store=True),
    )
