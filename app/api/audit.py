"""Who changed what."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import QueryParameter
from msgspec import Struct

from app.api.paging import audit_before, audit_cursor
from app.api.parameters import Cursor, Db, Limit
from app.core.access.api_key import Scope
from app.db import audit
from app.db.audit import AuditEntry


class AuditPage(Struct, frozen=True, kw_only=True):
    """Changes, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None


@get(
    "/audit",
    operation_id="listChanges",
    summary="List who changed what, newest first",
    opt={"scope": Scope.ADMIN},
)
async def list_changes(
    db: Db,
    limit: Limit = 50,
    cursor: Cursor = None,
    entity_id: Annotated[
        UUID | None, QueryParameter(description="Changes of this job or key.")
    ] = None,
) -> AuditPage:
    """Of jobs and keys, over the API and in SQL. Of a target only what cannot be secret."""
    page = await audit.list_page(db, entity_id=entity_id, before=audit_before(cursor), limit=limit)
    return AuditPage(
        items=page.items, next_cursor=audit_cursor(page.items[-1].id) if page.more else None
    )
