"""Limits how many requests a caller may make in a minute."""

from time import time
from typing import Any

from litestar import Request
from litestar.middleware import DefineMiddleware
from litestar.middleware.rate_limit import CacheObject, RateLimitConfig, RateLimitMiddleware
from litestar.stores.base import Store
from litestar.types import ASGIApp

from app.core.net.clients import client_of

MINUTE_SECONDS = 60
MAX_COUNTED = 10_000
"""How many callers are counted one by one; the requests of any more are counted together."""
OTHERS = "others"

Counts = dict[str, tuple[int, int]]
"""By caller: the requests in this minute, and when the next minute begins."""


def rate_limit(requests_a_minute: int) -> DefineMiddleware:
    """Limit the requests of each caller to this process; comes after authentication."""
    config = RateLimitConfig(
        rate_limit=("minute", requests_a_minute),
        identifier_for_request=limited_as,
        check_throttle_handler=has_caller,
    )
    return DefineMiddleware(CountingRateLimit, config=config, counts={})


def limit_by_address(requests_a_minute: int) -> DefineMiddleware:
    """Limit the requests to one handler from each address, to this process; no key is needed."""
    config = RateLimitConfig(
        rate_limit=("minute", requests_a_minute), identifier_for_request=address_of
    )
    return DefineMiddleware(CountingRateLimit, config=config, counts={})


def address_of(request: Request[Any, Any, Any]) -> str:
    """Name the client of a request by its address."""
    return client_of(request.client.host if request.client else "")


def limited_as(request: Request[Any, Any, Any]) -> str:
    """Return the name under which the caller's requests are counted."""
    return str(request.scope["user"].limited_as)


async def has_caller(request: Request[Any, Any, Any]) -> bool:
    """Return whether the request is counted: OPTIONS, which has no effect, has no caller."""
    return request.scope.get("user") is not None


class CountingRateLimit(RateLimitMiddleware):
    """Litestar's rate limit, which keeps one number for each caller here.

    Litestar keeps the instant of every request, and writes all instants again with each request:
    at 6,000 requests a minute that costs more than the request.
    """

    def __init__(self, app: ASGIApp, config: RateLimitConfig, counts: Counts) -> None:
        """Take the counts that all handlers share: each has a middleware of its own."""
        super().__init__(app, config)
        self.counts = counts

    async def retrieve_cached_history(self, key: str, store: Store) -> CacheObject:  # noqa: ARG002 - Litestar's interface
        """Return a history with as many requests as the caller made in this minute."""
        count, reset = self.counts.get(self.counted_as(key), (0, 0))
        now = int(time())
        if reset <= now:
            count, reset = 0, now + MINUTE_SECONDS
        return CacheObject(history=[0] * count, reset=reset)

    async def set_cached_history(self, key: str, cache_object: CacheObject, store: Store) -> None:  # noqa: ARG002 - Litestar's interface
        """Count one more request of the caller."""
        cache_object.history.append(0)
        self.counts[self.counted_as(key)] = (len(cache_object.history), cache_object.reset)

    def counted_as(self, key: str) -> str:
        """Return the name that a caller is counted under: one for all beyond `MAX_COUNTED` callers.

        Dropping counts instead, to bound memory, would let a client with many addresses begin anew.
        """
        if key in self.counts or len(self.counts) < MAX_COUNTED:
            return key
        now = int(time())
        for other in [other for other, count in self.counts.items() if count[1] <= now]:
            del self.counts[other]
        return key if len(self.counts) < MAX_COUNTED else OTHERS
