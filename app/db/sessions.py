"""Browser sessions in Postgres: a digest of each cookie's token, never the token."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.access.session import SESSION_SECONDS
from app.db.database import Runner

MAX_OF_A_KEY = 100
"""A further session of the same API key ends the key's oldest ones."""


class Session(Struct, frozen=True, kw_only=True):
    """A browser session that has not ended."""

    prefix: str
    """The prefix of the API key that the session was made with."""
    expires_at: datetime


async def create(db: Runner, digest: bytes, *, key_id: UUID) -> datetime | None:
    """Begin a session and return its end; None if the key was revoked meanwhile."""
    rows = await db.fetch(
        "sessions.create",
        digest=digest,
        key_id=key_id,
        most=MAX_OF_A_KEY,
        seconds=SESSION_SECONDS,
    )
    for row in rows:
        expires_at: datetime = row["expires_at"]
        return expires_at
    return None


async def find(db: Runner, digest: bytes) -> Session | None:
    """Find a session; None if there is none, or if it has ended."""
    for row in await db.fetch("sessions.find", digest=digest):
        return Session(**row)
    return None


async def delete(db: Runner, digest: bytes) -> None:
    """End a session; idempotent."""
    await db.fetch("sessions.delete", digest=digest)
