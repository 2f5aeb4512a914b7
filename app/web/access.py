"""The pages of those who administer: who changed what, and the API keys."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromQuery
from msgspec import Struct

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import audit, jobs, keys
from app.web.differences import Difference, differences
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.wire.audit import AuditEntry
from app.wire.pages import CHANGES, KEYS


class Edit(Struct, frozen=True, kw_only=True):
    """An entry of the audit log, and what it changed."""

    entry: AuditEntry
    parts: list[Difference]


def edit(entry: AuditEntry) -> Edit:
    """Work out what an entry changed."""
    return Edit(entry=entry, parts=differences(entry.before, entry.after, entry.changed))


@get("/audit", opt={"scope": Scope.ADMIN})
async def audit_page(
    *,
    request: ApiRequest,
    reader: Reader,
    clock: Clock,
    of: FromQuery[UUID | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List who changed what, newest first; `of` is the id of a job, a key or another thing."""
    found = await audit.list_page(
        reader, entity_id=of, before=CHANGES.read(cursor), limit=ON_A_PAGE
    )
    of_jobs = {one.entity_id for one in found.items if one.entity == "job"}
    return page(
        request,
        "audit.html",
        listed=[edit(one) for one in found.items],
        there=await jobs.find_existing(reader, of_jobs) if of_jobs else set(),
        of=of,
        following=CHANGES.after(found.items, more=found.more),
        cursor=cursor,
        at=await clock.now(),
    )


@get("/keys", opt={"scope": Scope.ADMIN})
async def keys_page(
    request: ApiRequest, reader: Reader, clock: Clock, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """List the API keys, newest first."""
    found = await keys.list_page(reader, before=KEYS.read(cursor), limit=ON_A_PAGE)
    return page(
        request,
        "keys.html",
        listed=found.items,
        following=KEYS.after(found.items, more=found.more),
        cursor=cursor,
        at=await clock.now(),
    )
