"""The audit log: changes of jobs, keys and secrets."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import QueryParameter

from app.api.parameters import Cursor, Db, Limit
from app.core.access.api_key import Scope
from app.db import audit
from app.wire.audit import AuditPage
from app.wire.pages import CHANGES


@get(
    "/audit",
    operation_id="listChanges",
    summary="List who changed what, newest first",
    opt={
        "scope": Scope.ADMIN,
        "meant": dict.fromkeys(("job", "job_id", "id", "key"), "did you mean entity_id?"),
    },
)
async def list_changes(
    db: Db,
    limit: Limit = 50,
    cursor: Cursor = None,
    entity_id: Annotated[
        UUID | None, QueryParameter(description="Changes of this job or key.")
    ] = None,
) -> AuditPage:
    """Changes of jobs, keys and secrets, made over the API and in SQL.

    A bulk action has one entry, which stands for all that it changes.

    Targets are shown without what can be secret.
    """
    page = await audit.list_page(db, entity_id=entity_id, before=CHANGES.read(cursor), limit=limit)
    return AuditPage(items=page.items, next_cursor=CHANGES.after(page.items, more=page.more))
