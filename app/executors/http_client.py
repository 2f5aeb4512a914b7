"""The HTTP client that all `http` jobs share: no state between them, no sending unasked."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from app.auth.base import Answer, AuthFailed, Form
from app.auth.tls import Tls, tls_context
from app.executors.base import Options
from app.executors.guard import AddressBlocked, GuardedResolver, forget
from app.executors.http_rules import Request

LONGEST_RESPONSE = 16_384
"""Bytes of an answer's body that are read; upon more the connection is closed."""

KEEP_ALIVE_SECONDS = 3.0
"""Below the 5 s after which common servers close an idle connection, maybe upon our request."""

LARGE_BODY = 1_000_000
"""Bytes from which a body is written piece by piece, letting others have their turn."""

NO_TIMEOUTS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""One deadline, the executor's, is around everything; aiohttp's own is rounded to whole seconds."""


@cache
def user_agent() -> str:
    """`tocsin/VERSION`."""
    try:
        return f"tocsin/{version('tocsin')}"
    except PackageNotFoundError:  # run from a copy of the sources
        return "tocsin/0"


def open_session(options: Options) -> aiohttp.ClientSession:
    """Open the client; must be called in the event loop that uses it.

    Answers are not decompressed (a kilobyte may stand for a gigabyte), cookies are not kept (one
    job's would go out with another's), and neither a proxy nor credentials come from the
    environment.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            limit_per_host=options.connections_per_host,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            resolver=GuardedResolver(options.guard),
            use_dns_cache=False,  # the guard tells its sockets what it resolved in the same task
            socket_factory=options.guard.make_socket,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        read_bufsize=LONGEST_RESPONSE,
        timeout=NO_TIMEOUTS,
    )
    # aiohttp sends GET, PUT, DELETE and others a second time where a kept connection broke, though
    # the first may have been carried out; there is no public switch (docs/adr/0006).
    session._retry_connection = False  # noqa: SLF001 - see above; a test notices if it stops working
    return session


@asynccontextmanager
async def sent(
    session: aiohttp.ClientSession, request: Request, *, tls: ssl.SSLContext | bool
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request, once; the answer's head has arrived. `tls`: or whether to verify it."""
    forget()
    async with session.request(
        request.method,
        request.url,
        headers=request.headers,
        skip_auto_headers=("Content-Type", "User-Agent"),
        data=BytesIO(request.body) if len(request.body) > LARGE_BODY else request.body or None,
        allow_redirects=False,
        ssl=tls,
    ) as response:
        yield response


async def posted(session: aiohttp.ClientSession, form: Form) -> Answer:
    """Post a form, to one who hands out what requests prove themselves with.

    Raises:
        AuthFailed: there is no answer.
    """
    request = Request(
        method="POST",
        url=URL(form.url, encoded=True),
        headers={
            "User-Agent": user_agent(),
            "Accept-Encoding": "identity",
            "Content-Type": "application/x-www-form-urlencoded",
            **form.headers,
        },
        body=urlencode(form.fields).encode(),
    )
    try:
        tls = True if form.ca is None else tls_context(Tls(ca=form.ca))
        async with sent(session, request, tls=tls) as response:
            return Answer(status=response.status, body=await first_bytes(response))
    except (aiohttp.ClientError, OSError) as error:
        reason, text = reason_and_error(error)
        if reason == "blocked":
            raise AuthFailed(text, retryable=False, reason=reason) from error
        raise AuthFailed(f"no token: {text}", retryable=True) from error


async def first_bytes(response: aiohttp.ClientResponse) -> bytes:
    """Read what is kept of the body; a connection with more to come is closed upon leaving it."""
    kept = bytearray()
    while len(kept) <= LONGEST_RESPONSE:
        piece = await response.content.read(LONGEST_RESPONSE + 1 - len(kept))
        if not piece:
            return bytes(kept)
        kept += piece
    return bytes(kept[:LONGEST_RESPONSE])


def reason_and_error(error: aiohttp.ClientError | OSError) -> tuple[str, str]:
    """Name what went wrong: in a stable word, and in a sentence without any of the URL's query."""
    match error:
        case aiohttp.ClientConnectorError(os_error=AddressBlocked() as refusal):
            said = "blocked", str(refusal)
        case aiohttp.ClientConnectorCertificateError():
            said = "tls", f"{error.host} has no valid certificate: {error.certificate_error}"
        case aiohttp.ClientSSLError():
            said = "tls", f"no TLS with {error.host}:{error.port}: {error.os_error.strerror}"
        case aiohttp.ClientConnectorDNSError():
            said = "dns", f"the name {error.host} was not found: {error.os_error.strerror}"
        case aiohttp.ClientConnectorError():
            because = error.os_error.strerror or error.os_error
            said = "connect", f"no connection to {error.host}:{error.port}: {because}"
        case aiohttp.ClientResponseError():
            said = "protocol", f"the answer is not HTTP: {' '.join(error.message.split())}"
        case aiohttp.InvalidURL():
            said = "target", "the URL cannot be used"
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            said = "closed", "the connection was closed before the answer was complete"
        case _:
            said = "protocol", f"the exchange failed: {type(error).__name__}"
    return said
