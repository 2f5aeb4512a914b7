"""Opens connections; where an address names several hosts, to the first that will do."""

from typing import Any
from urllib.parse import urlsplit

import asyncpg

from app.db.errors import PASSING

CONNECT_TIMEOUT_SECONDS = 5.0
SEARCH_PATH = "set search_path = pg_catalog, pg_temp"
"""Names without a schema are Postgres's own, whatever others put into `public`. Said after the
connection is made, as poolers pass on few settings that come with the request for it."""


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
            return await opened(one, options)
        except PASSING:
            continue
    return await opened(last, options)


async def opened(url: str, options: dict[str, Any]) -> asyncpg.Connection:
    """Connect to one host and set the search path."""
    connection: asyncpg.Connection = await asyncpg.connect(url, **options)
    try:
        await connection.execute(SEARCH_PATH, timeout=options["timeout"])
    except BaseException:
        connection.terminate()
        raise
    return connection
