"""Access to the API: by key, by the session of a browser, or from this machine without any key."""

import re
from datetime import datetime
from ipaddress import ip_address
from time import monotonic
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from msgspec import Struct

from app.core.access.api_key import NO_DIGEST, Scope, granted, is_key, prefix_of
from app.core.access.key_limits import NO_LIMITS, KeyLimits
from app.core.access.session import cookie_name, digest_of, is_from_own_page, is_token
from app.core.net.proxies import speaks_of_a_proxy
from app.db import Database, keys, sessions
from app.db.keys import ValidKey, ValidKeys
from app.errors import AppError, CrossOrigin, DatabaseUnavailable, KeyRequired, ScopeMissing
from app.single_flight import SingleFlight
from app.timers import Monotonic

TRUSTED_SECONDS = 2.0
"""How long the keys that were read are used; a new or revoked key counts everywhere after that."""
ALL = "all"
"""The key of all reads in the single flight: one query serves all callers that wait for keys."""
TOUCH_SECONDS = 60.0
"""How often the use of a key is recorded in the database."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HOST = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.IGNORECASE | re.ASCII)

Connection = ASGIConnection[Any, Any, Any, State]


class Caller(Struct, frozen=True, kw_only=True):
    """The client that a request is from."""

    actor: str
    """The name of the caller in the audit log."""
    limited_as: str
    """The name under which the rate limit counts the caller's requests."""
    scopes: frozenset[Scope]
    limits: KeyLimits = NO_LIMITS
    """The limits of the key, to which the jobs keep that the caller writes."""
    session_ends: datetime | None = None
    """When the browser's session ends; None for a request with a key, or without need of one."""


class KeyRing:
    """The API keys, read from the database at most `TRUSTED_SECONDS` ago."""

    def __init__(self, db: Database, *, clock: Monotonic = monotonic) -> None:
        self.db = db
        self.clock = clock
        self.known = ValidKeys(any_key=True, by_prefix={})
        self.read_at = float("-inf")
        self.reading = SingleFlight()
        self.touched_at: dict[UUID, float] = {}
        """When the use of each key was last recorded (monotonic seconds)."""

    def __repr__(self) -> str:
        return f"<KeyRing: {len(self.known.by_prefix)} keys, read at {self.read_at:.3f}>"

    def forget(self) -> None:
        """Have the keys read again at their next use, as this process has changed some."""
        self.read_at = float("-inf")

    async def has_any_key(self) -> bool:
        """Return whether any key was ever made, even if none is valid now."""
        return (await self.read_fresh()).any_key

    async def find(self, given: str) -> ValidKey | None:
        """Find a key by its text and note its use; None if there is none that may be used."""
        known = await self.read_fresh()
        key = known.by_prefix.get(prefix_of(given) or "")
        if not is_key(given, key.digest if key else NO_DIGEST) or key is None:
            return None
        return await self.note_use(key)

    async def find_of_session(self, prefix: str) -> ValidKey | None:
        """Find the key that a session was made with, by its prefix, as `find` does."""
        key = (await self.read_fresh()).by_prefix.get(prefix)
        return None if key is None else await self.note_use(key)

    async def note_use(self, key: ValidKey) -> ValidKey | None:
        """Note that a key is used, and return the key; None if it expired since it was read."""
        now = self.clock()
        if key.seconds_left is not None and now - self.read_at >= key.seconds_left:
            return None
        if now - self.touched_at.get(key.id, float("-inf")) > TOUCH_SECONDS:
            self.touched_at[key.id] = now
            await self.touch(key)
        return key

    async def read_fresh(self) -> ValidKeys:
        """Return the keys, read again if they are older than `TRUSTED_SECONDS`.

        Raises:
            DatabaseUnavailable: the keys have to be read and cannot.
        """
        if not self.is_fresh():
            await self.reading.run(ALL, self.is_fresh, self.read)
        return self.known

    def is_fresh(self) -> bool:
        """Return whether the keys were read within `TRUSTED_SECONDS`."""
        return self.clock() - self.read_at <= TRUSTED_SECONDS

    async def read(self) -> None:
        """Read the keys, and forget the uses of keys that are not valid any more."""
        asked_at = self.clock()
        self.known = await keys.read_valid(self.db)
        self.read_at = asked_at
        valid = {key.id for key in self.known.by_prefix.values()}
        self.touched_at = {id: at for id, at in self.touched_at.items() if id in valid}

    async def touch(self, key: ValidKey) -> None:
        """Record the use of a key in the database; an outage is ignored, and recorded later."""
        try:
            await keys.touch(self.db, key.id)
        except DatabaseUnavailable:
            self.touched_at.pop(key.id, None)  # people alone read it: no reason to refuse


class KeyAuthentication(AbstractAuthenticationMiddleware):
    """Finds the caller of each request, and refuses requests without a known one."""

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Name the caller of a request.

        Raises:
            KeyRequired: the request needs a key, and has none that may be used.
            DatabaseUnavailable: the keys cannot be read.
        """
        return AuthenticationResult(user=await find_caller(connection), auth=None)


async def find_caller(connection: Connection) -> Caller:
    """Name the caller of a request.

    Raises:
        KeyRequired: the request needs a key, and has none that may be used.
        CrossOrigin: the request has a browser's cookie, and was made by a page of another origin.
    """
    ring: KeyRing = connection.app.state.key_ring
    scheme, _, given = connection.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return caller_with(await require_key(ring, given.strip()))
    if not await ring.has_any_key():
        return caller_of_this_machine(connection)
    if token := session_token(connection):
        return await find_caller_in_session(connection, ring, token)
    message = "send an API key as Authorization: Bearer KEY; `tocsin keys create` makes one"
    raise KeyRequired(message)


async def may_still_read(connection: Connection) -> bool:
    """Return whether the caller of a stream may go on reading."""
    try:
        return Scope.READ in (await find_caller(connection)).scopes
    except DatabaseUnavailable:
        return True  # nothing is read either, as long as that lasts
    except AppError:
        return False


async def require_key(ring: KeyRing, given: str) -> ValidKey:
    """Find the key that a client gave.

    Raises:
        KeyRequired: the key may not be used.
    """
    key = await ring.find(given)
    if key is None:
        message = "the API key is unknown, expired or revoked: `tocsin keys list` shows which"
        raise KeyRequired(message, refused=True)
    return key


def caller_with(key: ValidKey, *, session_ends: datetime | None = None) -> Caller:
    """Name the caller that has this key."""
    return Caller(
        actor=f"key {key.prefix} ({key.name})",
        limited_as=key.prefix,
        scopes=granted(key.scopes),
        limits=key.limits,
        session_ends=session_ends,
    )


def caller_of_this_machine(connection: Connection) -> Caller:
    """Serve programs of this machine while there is no key.

    Raises:
        KeyRequired: the request comes from elsewhere, or may.
    """
    if not (connection.app.state.open_to_loopback and is_of_this_machine(connection)):
        message = (
            "there is no API key yet, so only programs on this machine are served, at its loopback "
            "address: make a key with `tocsin keys create`"
        )
        raise KeyRequired(message)
    return Caller(actor="loopback", limited_as="loopback", scopes=frozenset(Scope))


def session_token(connection: Connection) -> str | None:
    """Return the token in the session's cookie; None without one that has the form of ours."""
    given = connection.cookies.get(cookie_name(connection.scope["scheme"]), "")
    return given if is_token(given) else None


async def find_caller_in_session(connection: Connection, ring: KeyRing, token: str) -> Caller:
    """Name the caller that is signed in.

    Raises:
        KeyRequired: the session is over, or its key may not be used any more.
        CrossOrigin: the request would change something, and comes from a page of another origin.
    """
    session = await sessions.find(ring.db, digest_of(token))
    key = await ring.find_of_session(session.prefix) if session else None
    if session is None or key is None:
        message = "the session is over: sign in again with an API key (POST /session)"
        raise KeyRequired(message, refused=True)
    method = connection.scope.get("method")
    if method not in SAFE and not is_from_own_page(
        connection.headers, scheme=connection.scope["scheme"]
    ):
        raise CrossOrigin(
            "with a session only pages of Tocsin may change something: send an API key"
        )
    return caller_with(key, session_ends=session.expires_at)


def is_of_this_machine(connection: Connection) -> bool:
    """Whether a request without a key comes from here, and not from a web page seen here.

    A page of another origin can make its own name lead here (Host), or just send forms (Origin).
    A request that a proxy passes on may come from anywhere.
    """
    host = connection.headers.get("Host", "")
    found = HOST.fullmatch(host)
    return (
        connection.client is not None
        and is_loopback(connection.client.host)
        and not speaks_of_a_proxy(connection.headers.keys())
        and found is not None
        and is_loopback(found["name"].strip("[]"))
        and connection.headers.get("Origin") in (None, f"{connection.scope['scheme']}://{host}")
    )


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine's alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


async def require_scope(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard a handler by the scope that it declares, or by the highest if it declares none.

    Only OPTIONS comes without a caller: methods are no secret, as /openapi.json lists them.

    Raises:
        ScopeMissing: the key does not have the scope.
    """
    needed: Scope = handler.opt.get("scope", Scope.ADMIN)
    caller: Caller | None = connection.scope.get("user")
    if caller is None and connection.scope.get("method") == "OPTIONS":
        return
    if caller is None or needed not in caller.scopes:
        message = f"this needs an API key with the scope {needed}, which this one lacks"
        raise ScopeMissing(message, scope=needed)
