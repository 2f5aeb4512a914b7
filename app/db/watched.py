"""Jobs that an operator names by tag, name or id, to see each execution in the log."""

from collections.abc import Collection, Sequence
from uuid import UUID

from app.db.database import Runner

TAG = "tag:"


async def choose(db: Runner, entries: Collection[str], ids: Sequence[UUID]) -> list[UUID]:
    """Return which of these jobs an entry is for: `tag:` and a tag, a name, or an id."""
    tags = [one.removeprefix(TAG) for one in entries if one.startswith(TAG)]
    names = [one for one in entries if not one.startswith(TAG)]
    rows = await db.fetch("watched.choose", ids=ids, tags=tags, names=names)
    return [row["id"] for row in rows]
