"""Roles of Postgres for a test's time, such as those of docs/security.md."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from tests.support.pages import ROOT

PASSWORD = "its-own"
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
BLOCKS = re.findall(r"```sql\ncreate role (\w+) login[^\n]*\n(.*?)```", PAGE, re.DOTALL)


def documented(name: str) -> str:
    """Return what docs/security.md grants a role, with its name left open."""
    [grants] = [block for found, block in BLOCKS if found == name]
    return re.sub(rf"\b{name}\b", "{role}", re.sub(r"--.*", "", grants))


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
