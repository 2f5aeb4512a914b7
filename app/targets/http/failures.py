"""The failures of an exchange over HTTP, and the stable word and sentence for each."""

import aiohttp

from app.descriptors import is_shortage
from app.targets.net.guard import AddressBlocked


class NotHttp(aiohttp.ClientError):
    """The bytes that the server sent are no HTTP answer."""


class Closed(ConnectionError):
    """The connection was closed before the answer was complete."""


def reason_and_error(error: aiohttp.ClientError | OSError) -> tuple[str, str]:
    """Return the stable word for a failure, and a sentence without any of the URL's query."""
    match error:
        case _ if is_shortage(getattr(error, "os_error", error)):
            said = "descriptors", "no file descriptor is left for a connection"
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
        case NotHttp():
            said = "protocol", f"the answer is not HTTP: {error}"
        case aiohttp.InvalidURL():
            said = "target", "the URL cannot be used"
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            said = "closed", "the connection was closed before the answer was complete"
        case _:
            said = "protocol", f"the exchange failed: {type(error).__name__}"
    return said
