"""Jobs of a raised priority, which an instance looks for even while it has no room for others."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.db.database import Runner


class Raised(Struct, frozen=True, kw_only=True):
    """The jobs of a raised priority that are next."""

    due: int
    """How many of them are due, as far as was asked."""
    next_seconds: float | None
    """Seconds until the first one that is not due comes due; None if none was found."""


async def find_due(
    session: Runner,
    *,
    most: int,
    kinds: Sequence[str],
    believed: datetime | None,
    aside: Sequence[UUID],
) -> Raised:
    """Learn how many jobs of a raised priority are due, up to `most`, or when the next one is."""
    rows = await session.fetch("raised.due", most=most, kinds=kinds, believed=believed, aside=aside)
    waits = [row["due_seconds"] for row in rows]
    return Raised(
        due=sum(wait <= 0 for wait in waits),
        next_seconds=min((wait for wait in waits if wait > 0), default=None),
    )
