"""The kinds that instances have executors for, and the jobs of all other kinds."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from app.core.health import UnsupportedKind
from app.db.database import Runner

MAX_COUNTED = 1000
"""Jobs of a kind that are counted, so that counting stays cheap in large tables."""


async def record_kinds(db: Runner, shown: Mapping[str, Mapping[str, Struct]]) -> None:
    """Record the kinds that an instance has executors for.

    `shown`: for each, by field, what the audit log keeps of targets.
    """
    await db.fetch("kinds.tell", shown=msgspec.json.encode(shown).decode())


async def list_unsupported(db: Runner) -> list[UnsupportedKind]:
    """List the kinds of jobs that no instance has an executor for."""
    rows = await db.fetch("kinds.nobodys", most=MAX_COUNTED)
    return [UnsupportedKind(**row) for row in rows]
