"""How an instance is connected to the database of a test, and what its looks claim."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.core.runs.claim import Claim
from app.db import Database, claims
from app.db.claims import Look
from app.db.listener import Session, open_session

LEASE_SECONDS = 60.0


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """Give the pool on which an instance settles and publishes."""
    async with Database.connect(database_url, application_name="test") as db:
        yield db


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_db(module_database: str) -> AsyncIterator[Database]:
    """Give such a pool on the database that the tests of a module share."""
    async with Database.connect(module_database, application_name="test") as db:
        yield db


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    """Give the session on which an instance looks."""
    async with open_session(database_url, wake=lambda: None, application_name="test") as session:
        yield session


async def look_once(session: Session, *, by: str = "one", limit: int = 10) -> Look:
    """Claim the http jobs that are due now, for an instance of that name."""
    return await claims.look(
        session,
        limit=limit,
        ahead_seconds=0.0,
        lease_seconds=LEASE_SECONDS,
        kinds=("http",),
        instance=by,
    )


async def claimed_one(session: Session, *, by: str = "one") -> Claim:
    """Claim the only job that is due now."""
    [claim] = (await look_once(session, by=by)).claims
    return claim
