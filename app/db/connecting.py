"""Opens connections; where an address names several hosts, to the first that will do."""

from typing import Any
from urllib.parse import urlsplit

import asyncpg

from app.db.errors import PASSING

CONNECT_TIMEOUT_SECONDS = 5.0


def one_by_one(url: str) -> list[str]:
    """An address for each of the hosts, in their order, with all else that it says."""
    hosts = urlsplit(url).netloc.rpartition("@")[-1]
    return [url.replace(hosts, host, 1) for host in hosts.split(",")] if "," in hosts else [url]


async def connect(url: str, **options: Any) -> asyncpg.Connection:  # noqa: ANN401
    """Connect within five seconds, of which each host gets its share: one may be silent.

    asyncpg would let that one use up the time of those after it.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError,
        asyncpg.InternalClientError: what the last of the hosts said.
    """
    *before, last = one_by_one(url)
    options |= {"timeout": CONNECT_TIMEOUT_SECONDS / (len(before) + 1)}
    for one in before:
        try:
            return await asyncpg.connect(one, **options)
        except PASSING:
            continue
    return await asyncpg.connect(last, **options)
