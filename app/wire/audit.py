"""Changes in the audit log as they are answered."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from app.wire.pages import Page


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change of a job, a key, a named secret or the limits of a flow, a bulk action, a test."""

    id: int
    at: datetime
    actor: Annotated[str, Meta(description="The API key, or the database user.")]
    db_user: Annotated[str, Meta(description="Whom the database knows it by.")]
    program: Annotated[str | None, Meta(description="Such as psql, or which API process.")]
    action: Literal["create", "update", "delete", "test"]
    entity: Literal[
        "job",
        "key",
        "secret",
        "flow",
        "bulk",
        "pause",
        "alert_rule",
        "alert_channel",
        "calendar",
        "maintenance",
    ]
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


class AuditPage(Page[AuditEntry], frozen=True, kw_only=True):
    """Changes, newest first."""
