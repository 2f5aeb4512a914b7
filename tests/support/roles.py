"""Roles of Postgres for a test's time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

PASSWORD = "its-own"


@asynccontextmanager
async def role(connection: asyncpg.Connection, url: str, grants: str) -> AsyncIterator[str]:
    """Have a role that may log in, with `grants`, in which {role} is its name; give its URL."""
    name = f"role_{uuid4().hex}"
    await connection.execute(f"create role {name} login password '{PASSWORD}'")
    try:
        await connection.execute(grants.format(role=name))
        address = urlsplit(url)
        at = f"{name}:{PASSWORD}@{address.hostname}:{address.port}"
        yield address._replace(netloc=at).geturl()
    finally:
        await connection.execute(
            f"""reset role;
                select pg_terminate_backend(pid) from pg_stat_activity where usename = '{name}'"""
        )
        await connection.execute(f"drop owned by {name}; drop role {name}")


def name_in(url: str) -> str:
    """Return the role that a URL names."""
    return str(urlsplit(url).username)
