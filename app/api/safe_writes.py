"""Writes that may be sent twice (`Idempotency-Key`), or tried without effect (`dry_run`).

Either way all statements of the request are one transaction. It is undone after a dry run, or has
the answer entered beside what it answers for: whenever the process dies, both are there or neither.

What takes long, and changes nothing of which a transaction could be, is entered in one and its
answer kept in another (`takes_long` of a handler). If the process dies in between, the next try
waits until nobody can be at it any more, and does it again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import monotonic
from typing import Any

from litestar import Litestar, Response
from litestar.types import ASGIApp, HTTPScope, Receive, Send

from app.api.access import Caller, require_scope, session_token
from app.api.body import WRITES, is_dry_run
from app.api.kept_answers import OF_FORMS, KeptAnswers
from app.api.problems import ApiRequest, app_problem, unexpected_problem
from app.api.sent_again import Answer, call_by_size, keep, send_either
from app.core.access.idempotency import HEADER, digest_of_request, id_of, key_error
from app.db import Database, idempotency
from app.db.connections import OF_API
from app.db.held import Held, hold
from app.db.idempotency import UNDER_WAY, WAIT_SECONDS, Kept
from app.errors import (
    AppError,
    DatabaseUnavailable,
    FieldError,
    InvalidInput,
    RequestUnderWay,
)
from app.vault.answers import cipher_of

AT_ONCE = OF_API // 2
"""How many transactions are held at a time: what they need beside them, the time and the keys, is
read by other connections of the pool."""

OWN_UNDER_WAY = (
    "other requests with this API key, which may make only so many jobs, are under way: send it "
    "again later"
)
HELD = "held"
"""The name of the request's transaction in the state of its scope."""


class Line:
    """The requests with one key in this process: one of them at a time takes a connection."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class SafeWrites:
    """What the requests of a process share."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.room = asyncio.Semaphore(AT_ONCE)
        self.lines: dict[bytes, Line] = {}
        self.kept = KeptAnswers(db)

    def __repr__(self) -> str:
        return f"<SafeWrites: {len(self.lines)} keys under way>"

    @asynccontextmanager
    async def hold(self, actor: str) -> AsyncIterator[Held]:
        """Open a transaction for a request, as one of `AT_ONCE`.

        Raises:
            DatabaseUnavailable: the others take too long, or as `app.db.held.hold` raises it.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.room.acquire()
        except TimeoutError:
            message = f"{AT_ONCE} other requests with idempotency keys or dry runs are under way"
            raise DatabaseUnavailable(message) from None
        try:
            async with hold(self.db.acting_for(actor)) as held:
                yield held
        finally:
            self.room.release()

    @asynccontextmanager
    async def begun(
        self, id: bytes, asked: bytes, *, actor: str, owner: str
    ) -> AsyncIterator[tuple[Held, Kept | None]]:
        """Open a transaction in which a request is entered, or the answer to the first one found.

        Where another process has one with its key under way, no connection is held in between.

        Raises:
            RequestUnderWay: that is not over within `WAIT_SECONDS`.
            DatabaseUnavailable: as `hold` raises it.
        """
        until = monotonic() + idempotency.WAIT_SECONDS
        while True:
            async with AsyncExitStack() as stack:
                held = await stack.enter_async_context(self.hold(actor))
                try:
                    kept = await idempotency.begin(held, id, request=asked, owner=owner)
                except RequestUnderWay:
                    if monotonic() >= until:
                        raise
                else:
                    yield held, kept
                    return
            await asyncio.sleep(idempotency.PAUSE_SECONDS)

    @asynccontextmanager
    async def turn_of(self, caller: Caller) -> AsyncIterator[None]:
        """Wait until no other request of a caller is held, if they would wait for each other.

        That is, if its key may make only so many jobs. Each would hold a transaction meanwhile, and
        all together those of everybody.

        Raises:
            RequestUnderWay: they take longer than `WAIT_SECONDS`.
        """
        if caller.limits.max_jobs is None or caller.limits.key_id is None:
            yield
            return
        async with self.turn(caller.limits.key_id.bytes, refusal=OWN_UNDER_WAY):
            yield

    @asynccontextmanager
    async def turn(self, id: bytes, *, refusal: str = UNDER_WAY) -> AsyncIterator[None]:
        """Wait until no other request of this process has the key.

        Raises:
            RequestUnderWay: one still has it after `WAIT_SECONDS`.
        """
        line = self.lines.setdefault(id, Line())
        line.waiting += 1
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await line.lock.acquire()
            except TimeoutError:
                raise RequestUnderWay(refusal) from None
            try:
                yield
            finally:
                line.lock.release()
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self.lines[id]


def safe_writes(app: ASGIApp) -> ASGIApp:
    """Hold the transaction of each write that wants it; comes after authentication."""

    async def answer(scope: Any, receive: Receive, send: Send) -> None:  # noqa: ANN401 - as Litestar's
        if scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        request: ApiRequest = ApiRequest(scope, receive, send)
        key, is_dry = key_of(request), is_dry_run(request)
        if key is None and not is_dry:
            await app(scope, receive, send)
            return
        try:
            # Before anything is answered, as an answer that is kept does not pass the guards.
            await require_scope(request, request.route_handler)
            await request.body()  # no client may keep a transaction waiting
            if is_dry:
                await try_out(app, scope, receive, send)
            else:
                await answer_once(app, scope, receive, send, key=key or "")
        except AppError as error:
            await send_problem(app_problem(request, error), request, send)
        except Exception as error:  # noqa: BLE001 - Litestar takes the answer for sent, as `app` began one
            await send_problem(unexpected_problem(request, error), request, send)

    return answer


def key_of(request: ApiRequest) -> str | None:
    """Return the Idempotency-Key of a POST; None without one, or of another method.

    Raises:
        InvalidInput: it is not what a key may be.
    """
    if request.method != "POST" or (key := request.headers.get(HEADER)) is None:
        return None
    if error := key_error(key):
        raise InvalidInput(FieldError(field=HEADER, message=error))
    return key


async def send_problem(problem: Response[bytes], request: ApiRequest, send: Send) -> None:
    await problem.to_asgi_response(app=None, request=request)(request.scope, request.receive, send)


async def try_out(app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer a request, and undo all that it did."""
    writes, caller = shared(scope), caller_in(scope)
    answer = Answer()
    async with writes.turn_of(caller), writes.hold(caller.actor) as held:
        scope["state"][HELD] = held
        await app(scope, receive, answer.take)
        if answer.status < 400:  # noqa: PLR2004 - a refusal
            await held.judge_deferred()
    await answer.send(send)


async def answer_once(  # noqa: PLR0913 - an application of ASGI, and two of ours
    app: ASGIApp,
    scope: HTTPScope,
    receive: Receive,
    send: Send,
    *,
    key: str,
    is_form: bool = False,
) -> None:
    """Answer a request and keep the answer, or answer as the first one with its key was answered.

    `is_form`: it was sent by a page, whose answers count apart.

    Raises:
        IdempotencyKeyReused: the first one was another request.
        RequestUnderWay: the first one takes too long.
        AnswerTooLarge, TooManyKept: the answer cannot be kept.
    """
    request: ApiRequest = ApiRequest(scope, receive, send)
    body = await request.body()
    asked = await call_by_size(
        len(body), digest_of_request, request.method, address(scope), media_type(request), body
    )
    credential = credential_of(request)
    is_secret = request.route_handler.opt.get("secret_answer", False)
    if is_secret and not credential:
        message = "cannot keep an answer that has a secret for a client without one: leave it out"
        raise InvalidInput(FieldError(field=HEADER, message=message))
    caller, writes, answer = caller_in(scope), shared(scope), Answer()
    id = id_of(key, credential=credential)
    cipher = cipher_of(credential, id) if is_secret else None
    owner = f"{OF_FORMS}{caller.limited_as}" if is_form else caller.limited_as
    check_room = writes.kept.make_room_of_forms if is_form else writes.kept.check_room
    if request.route_handler.opt.get("takes_long", False):
        async with writes.turn(id):
            async with writes.begun(id, asked, actor=caller.actor, owner=owner) as (held, kept):
                if kept is None:
                    await check_room(owner)
                    held.keep()
            if kept is None:
                await answer_apart(app, scope, receive, answer, id=id)
        await send_either(send, answer, kept, asked=asked, cipher=cipher)
        return
    async with (
        writes.turn_of(caller),
        writes.turn(id),
        writes.begun(id, asked, actor=caller.actor, owner=owner) as (held, kept),
    ):
        if kept is None:
            await check_room(owner)
            scope["state"][HELD] = held
            await app(scope, receive, answer.take)
            if answer.status < 400:  # noqa: PLR2004 - a refusal, which changed nothing
                await keep(held, id, answer, cipher)
                held.keep()
    await send_either(send, answer, kept, asked=asked, cipher=cipher)


async def answer_apart(
    app: ASGIApp, scope: HTTPScope, receive: Receive, answer: Answer, *, id: bytes
) -> None:
    """Answer a request that was entered, without a transaction around it, and keep the answer."""
    db = shared(scope).db
    try:
        await app(scope, receive, answer.take)
    except BaseException:
        with suppress(AppError):
            await idempotency.forget(db, id)
        raise
    with suppress(DatabaseUnavailable):  # who has the answer needs no second one
        if answer.status < 400:  # noqa: PLR2004 - a refusal, which changed nothing
            await keep(db, id, answer, None)
        else:
            await idempotency.forget(db, id)


def shared(scope: HTTPScope) -> SafeWrites:
    app: Litestar = scope["litestar_app"]
    writes: SafeWrites = app.state.safe_writes
    return writes


def caller_in(scope: HTTPScope) -> Caller:
    caller: Caller = scope["user"]
    return caller


def credential_of(request: ApiRequest) -> str:
    """Return the API key or the cookie's token of a request; empty for one without need of any."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return session_token(request) or ""


def address(scope: HTTPScope) -> str:
    return f"{scope['path']}?{scope['query_string'].decode('latin-1')}"


def media_type(request: ApiRequest) -> str:
    given, _ = request.content_type
    return given.lower()
