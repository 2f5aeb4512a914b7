"""What is known of each request: its id, and how it was answered."""

import re
import secrets
from collections.abc import Callable, Iterable
from time import monotonic

from litestar.types import HTTPScope, Message, Send

from app.api.access import Caller
from app.api.metrics import METHODS, OTHER, ApiMetrics
from app.core.facts import Requested

HEADER = b"x-request-id"
FORM = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The ids of requests that are taken over from clients and proxies."""


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that a request has in `X-Request-Id`, or a new one if it has no usable one."""
    for name, value in headers:
        if name == HEADER and FORM.fullmatch(value):
            return value.decode()
    return secrets.token_hex(8)


class Answering:
    """Follows the answer to one request as it is sent."""

    __slots__ = ("began_at", "id", "method", "scope", "send", "sent_bytes", "status")

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self.scope = scope
        self.send = send
        self.id = id_of(scope["headers"])
        self.method = scope["method"] if scope["method"] in METHODS else OTHER
        """The method as the client wrote it: what answers a HEAD calls it a GET."""
        self.began_at = monotonic()
        self.status: int | None = None
        self.sent_bytes = 0

    async def send_on(self, message: Message) -> None:
        """Send a message of the answer, whose first one gets the id as `X-Request-Id`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (HEADER, self.id.encode())]
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message["body"])
        await self.send(message)

    def end(self, metrics: ApiMetrics, tell: Callable[[Requested], None] | None) -> None:
        """Count the request, unless its client left before the answer; and tell of it."""
        seconds = monotonic() - self.began_at
        route = self.scope.get("path_template", "")
        if self.status is not None:
            metrics.observe(method=self.method, route=route, status=self.status, seconds=seconds)
        if tell is None:
            return
        client = self.scope.get("client")
        caller: Caller | None = self.scope.get("user")
        tell(
            Requested(
                method=self.method,
                route=route,
                status=self.status,
                duration_seconds=seconds,
                sent_bytes=self.sent_bytes,
                client=client[0] if client else None,
                caller=caller.actor if caller else None,
            )
        )
