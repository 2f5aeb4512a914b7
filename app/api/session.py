"""Sessions of browsers: sign in with an API key, see who one is, sign out."""

import secrets

from litestar import Response, delete, get, post
from litestar.datastructures import Cookie, ResponseHeader, State
from litestar.middleware import DefineMiddleware

from app.api.access import (
    Caller,
    KeyAuthentication,
    caller_with,
    require_key,
    require_scope,
    session_token,
)
from app.api.body import decode_body
from app.api.parameters import Db
from app.api.problems import ApiRequest
from app.api.rate_limit import limit_by_address
from app.core.access.api_key import Scope
from app.core.access.key_limits import KeyLimits
from app.core.access.session import (
    RANDOM_BYTES,
    SESSION_SECONDS,
    cookie_name,
    digest_of,
    is_from_own_page,
    is_from_page,
    issue,
)
from app.db import sessions
from app.errors import CrossOrigin, KeyRequired
from app.wire.session import SessionLimits, SessionState, SignIn

SIGN_INS_A_MINUTE = 30
"""The sign-ins that one address may try at one process in a minute: far more than people need, and
far fewer than guessing needs."""

SET_COOKIE = ResponseHeader(
    name="Set-Cookie",
    description="HttpOnly and SameSite=Strict; over TLS also Secure, with a name of its own.",
    documentation_only=True,
)


@post(
    "/",
    operation_id="signIn",
    summary="Begin a session of this browser",
    status_code=200,
    response_headers=[SET_COOKIE],
    middleware=[limit_by_address(SIGN_INS_A_MINUTE)],
    opt={"body": SignIn, "problems": (400, 401, 403, 406, 413, 415, 422, 429, 500, 503)},
)
async def sign_in(request: ApiRequest, db: Db, state: State) -> Response[SessionState]:
    """The cookie takes the key's place; it holds nothing of the key, and ends with it."""
    check_page(request)
    given = await decode_body(request, SignIn)
    caller, cookie = await begin_session(request, db, state, given.key)
    return Response(state_of(caller), status_code=200, cookies=[cookie])


def check_page(request: ApiRequest) -> None:
    """Refuse to sign a browser in for a page of elsewhere.

    Raises:
        CrossOrigin: the request was made by such a page.
    """
    headers, scheme = request.headers, request.scope["scheme"]
    if is_from_page(headers) and not is_from_own_page(headers, scheme=scheme):
        raise CrossOrigin("only pages of Tocsin may sign a browser in")


async def begin_session(
    request: ApiRequest, db: Db, state: State, given: str
) -> tuple[Caller, Cookie]:
    """Begin a session with an API key; return the caller, and the cookie that stands for the key.

    Raises:
        KeyRequired: the key may not be used.
    """
    key = await require_key(state.key_ring, given)
    session = issue(secrets.token_bytes(RANDOM_BYTES))
    expires_at = await sessions.create(db, session.digest, key_id=key.id)
    if expires_at is None:
        raise KeyRequired("the API key has just been revoked", refused=True)
    cookie = session_cookie(request.scope["scheme"], session.token, max_age=SESSION_SECONDS)
    return caller_with(key, session_ends=expires_at), cookie


@get(
    "/",
    operation_id="getSession",
    summary="Who is signed in?",
    middleware=[DefineMiddleware(KeyAuthentication)],
    guards=[require_scope],
    opt={"scope": Scope.READ, "problems": (401, 403, 406, 422, 500, 503)},
)
async def get_session(request: ApiRequest) -> SessionState:
    """The caller has a session's cookie or a key, or is this machine while there is no key."""
    return state_of(request.scope["user"])


@delete(
    "/",
    operation_id="signOut",
    summary="End the session of this browser",
    middleware=[DefineMiddleware(KeyAuthentication)],
    guards=[require_scope],
    opt={"scope": Scope.READ, "problems": (401, 403, 406, 422, 500, 503)},
)
async def sign_out(request: ApiRequest, db: Db) -> Response[None]:
    """The session ends on all processes at once. A request without a session changes nothing."""
    return Response(None, status_code=204, cookies=[await end_session(request, db)])


async def end_session(request: ApiRequest, db: Db) -> Cookie:
    """End the session that a request has, if any; return the cookie that takes its place."""
    if token := session_token(request):
        await sessions.delete(db, digest_of(token))
    return session_cookie(request.scope["scheme"], "", max_age=0)


def session_cookie(scheme: str, value: str, *, max_age: int) -> Cookie:
    """Make the cookie: for this host only, for no script, and for no page of elsewhere."""
    return Cookie(
        key=cookie_name(scheme),
        value=value,
        path="/",
        max_age=max_age,
        httponly=True,
        samesite="strict",
        secure=scheme == "https",
    )


def state_of(caller: Caller) -> SessionState:
    """Describe the caller that is signed in."""
    return SessionState(
        actor=caller.actor,
        scopes=[scope for scope in Scope if scope in caller.scopes],
        expires_at=caller.session_ends,
        limits=shown_limits(caller.limits),
    )


def shown_limits(limits: KeyLimits) -> SessionLimits | None:
    """Describe the limits of a key; None without any."""
    if not limits.is_any():
        return None
    hosts = limits.allowed_hosts
    return SessionLimits(
        max_jobs=limits.max_jobs,
        min_interval_seconds=limits.min_interval_seconds,
        allowed_hosts=None if hosts is None else list(hosts),
        default_ends_in_seconds=limits.default_ends_in_seconds,
    )
