"""Finds the client of a request that a proxy forwarded; only trusted proxies are believed."""

from litestar.types import ASGIApp, Receive, Scope, Send

from app.config import PREFIX, Settings
from app.core.net.clients import LOOPBACK, client_of
from app.core.net.proxies import SCHEMES, Proxies
from app.errors import InvalidSettings


def behind(app: ASGIApp, proxies: Proxies) -> ASGIApp:
    """Wrap an application so that it sees the client and scheme that trusted proxies state.

    A proxy on this machine may state the scheme even if it is not a trusted one: the scheme decides
    only whether the answer has headers and cookies for TLS.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")  # None in a lifespan
        if client is not None:
            host, port = client
            trusted = proxies.trusts(host)
            if trusted or client_of(host) == LOOPBACK:
                [*given] = values(scope, b"x-forwarded-proto")
                if given and given[-1].strip() in SCHEMES:
                    scope["scheme"] = given[-1].strip()
            if trusted:
                scope["client"] = proxies.client(host, values(scope, b"x-forwarded-for")), port
        await app(scope, receive, send)

    return serve


def trusted_proxies(settings: Settings) -> Proxies:
    """Read which proxies the operator trusts.

    Raises:
        InvalidSettings: an entry is neither an address nor a network; names the entry.
    """
    try:
        return Proxies.of(settings.trusted_proxies)
    except ValueError as error:
        raise InvalidSettings(f"{PREFIX}TRUSTED_PROXIES: {error}") from None


def values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, one for each line; `name` is in lower case."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    return [value.decode("latin-1") for given, value in headers if given == name]
