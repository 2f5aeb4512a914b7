"""The audit log, which the database's triggers write."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.core.jobs.exact_json import number
from app.db.database import Database, Page

DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=number)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change of a job, a key or a named secret."""

    id: int
    at: datetime
    actor: Annotated[str, Meta(description="The API key, or the database user.")]
    db_user: Annotated[str, Meta(description="Whom the database knows it by.")]
    program: Annotated[str | None, Meta(description="Such as psql, or which API process.")]
    action: Literal["create", "update", "delete"]
    entity: Literal["job", "key", "secret"]
    entity_id: UUID
    entity_name: str | None
    changed: Annotated[
        list[str] | None, Meta(description="Of an update: columns, and parts of the target.")
    ]
    before: Annotated[
        dict[str, Any] | None, Meta(description="What was changed or deleted; of a target a part.")
    ]
    after: Annotated[
        dict[str, Any] | None,
        Meta(description="What it became; of a created job all but `next_run`."),
    ]


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
