"""The client of a request that a proxy passes on; only trusted proxies are believed."""

from litestar.types import ASGIApp, Receive, Scope, Send

from app.config import PREFIX, Settings
from app.core.net.clients import LOOPBACK, client_of
from app.core.net.proxies import SCHEMES, Proxies
from app.errors import InvalidSettings


def behind(app: ASGIApp, proxies: Proxies) -> ASGIApp:
    """Serve the application with the client and scheme that trusted proxies tell.

    A proxy on this machine is believed the scheme without being named: the scheme decides no more
    than whether the answer speaks of TLS.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")  # none of a lifespan
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

    return served


def trusted_proxies(settings: Settings) -> Proxies:
    """Read which proxies the operator trusts.

    Raises:
        InvalidSettings: naming what is neither an address nor a network.
    """
    try:
        return Proxies.of(settings.trusted_proxies)
    except ValueError as error:
        raise InvalidSettings(f"{PREFIX}TRUSTED_PROXIES: {error}") from None


def values(scope: Scope, name: bytes) -> list[str]:
    """What the header of this name, in lower case, says, line by line."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    return [value.decode("latin-1") for given, value in headers if given == name]
