"""API keys as they are asked for and answered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.access.api_key import Scope
from app.core.jobs.job import HUNDRED_YEARS
from app.core.jobs.names import MAX_NAME_LENGTH
from app.wire.pages import Page


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key as clients see it: without the secret part."""

    id: UUID
    name: str
    prefix: Annotated[str, Meta(description="The part of the key that may be shown.")]
    scopes: Annotated[list[Scope], Meta(description="Each includes those before it.")]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Meta(description="To the minute.")]
    revoked_at: datetime | None


class KeyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_NAME_LENGTH,
            description="Whose it is. Unique among those in force.",
            extra_json_schema={"pattern": r"^[^/\x00-\x1f\x7f-\x9f]+$"},
            examples=["deployment"],
        ),
    ]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope))]
    expires_in_seconds: (
        Annotated[float, Meta(gt=0, le=HUNDRED_YEARS, description="Seconds from now.")] | None
    ) = None


class NewKey(ApiKey, frozen=True, kw_only=True):
    """A new key with its secret part, which is shown only here."""

    key: Annotated[str, Meta(description="Send it as Authorization: Bearer. Not shown again.")]


class KeyPage(Page[ApiKey], frozen=True, kw_only=True):
    """Keys, newest first."""
