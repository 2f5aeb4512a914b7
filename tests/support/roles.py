"""Roles of Postgres for a test's time, such as those of db/roles.sql."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from tests.support.pages import ROOT

PASSWORD = "its-own"
SCRIPT = (ROOT / "db" / "roles.sql").read_text("utf-8")
PARTS = dict(
    re.findall(r"^-- role: (\w+)\n(.*?)(?=^-- role: |\Z)", SCRIPT, re.DOTALL | re.MULTILINE)
)


LOGINS = "".join(
    f"""do $$ begin
        create role test_{name} login password 'its-own' in role tocsin_{name};
    exception when duplicate_object or unique_violation then null;
    end $$;"""
    for name in ("instance", "api", "writer", "reader")
)
"""Makes a login for each role of db/roles.sql."""


def as_role(name: str, url: str) -> str:
    """Return the URL of a database for the login of a role, such as `api`."""
    address = urlsplit(url)
    at = f"test_{name}:its-own@{address.hostname}:{address.port}"
    return address._replace(netloc=at).geturl()


def in_role(name: str, request: pytest.FixtureRequest, url: str) -> str:
    """Return the URL at which the instances, or the API, of a test log in."""
    return as_role(name, url) if request.path.parent.name == "integration" else url


def documented(name: str) -> str:
    """Return what db/roles.sql grants a role, with its name left open."""
    return re.sub(rf"\b{name}\b", "{role}", re.sub(r"--.*", "", PARTS[name]))


@asynccontextmanager
async def role(connection: asyncpg.Connection, url: str, grants: str) -> AsyncIterator[str]:
    """Have a role that may log in, with `grants`, in which {role} is its name; give its URL."""
    name = f"role_{uuid4().hex}"
    await connection.execute(f"create role {name} login password '{PASSWORD}'")
    try:
        await connection.execute(grants.replace("{role}", name))
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
