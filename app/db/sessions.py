"""Sessions of browsers in Postgres: a digest of each, never what its cookie holds."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.access.session import SESSION_SECONDS
from app.db.database import Runner

MAX_OF_A_KEY = 100
"""More than that, and the oldest sessions of the key end."""


class Session(Struct, frozen=True, kw_only=True):
    """A session that is not over."""

    prefix: str
    """Of the key it was made with."""
    expires_at: datetime


async def create(db: Runner, digest: bytes, *, key_id: UUID) -> datetime | None:
    """Begin a session and return its end; None: the key was revoked meanwhile."""
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
    """Find a session; None: there is none, or it is over."""
    for row in await db.fetch("sessions.find", digest=digest):
        return Session(**row)
    return None


async def delete(db: Runner, digest: bytes) -> None:
    """End a session; idempotent."""
    await db.fetch("sessions.delete", digest=digest)
