"""The audit log, which the database's triggers write."""

from typing import Any
from uuid import UUID

import msgspec

from app.core.jobs.exact_json import number
from app.db.database import Database, Page
from app.wire.audit import AuditEntry

DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=number)


async def list_page(
    db: Database, *, entity_id: UUID | None, before: int | None, limit: int
) -> Page[AuditEntry]:
    """List changes, newest first, from the first one older than `before`."""
    found = await db.fetch_page("audit.page", entity_id=entity_id, before_id=before, limit=limit)
    items = [
        AuditEntry(**{**row, **{name: decoded(row[name]) for name in ("before", "after")}})
        for row in found.rows
    ]
    return Page(items=items, more=found.more)


def decoded(text: str | None) -> dict[str, Any] | None:
    return None if text is None else DECODER.decode(text)


async def note_test(
    db: Database, id: UUID, *, name: str | None, kind: str, target: dict[str, Any]
) -> None:
    """Write down that a test of a target is sent: `id` is that of its job, or made up for it.

    `target` comes with its secrets masked; the log keeps as much of it as of a job's.
    """
    text = msgspec.json.encode(target).decode()
    await db.fetch("audit.note_test", id=id, name=name, kind=kind, target=text)
