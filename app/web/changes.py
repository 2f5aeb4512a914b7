"""What was changed of a job between its last success and what did not succeed after it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.core.runs.outcome import Outcome
from app.db import audit
from app.db.database import Database
from app.web.access import Edit, edit
from app.web.differences import Difference, together
from app.web.facts import Seen, see_once
from app.wire.executions import Execution

EDITS = 50
"""Changes that are read: the newest are shown, and all since the last success compared."""


async def read_edits(reader: Database, id: UUID, *, may_see: bool) -> Seen[Sequence[Edit]]:
    """List the last changes of a job, the newest first, for a caller that may see them."""
    if not may_see:
        return Seen(value=None, at=None)
    return await see_once(list_edits(reader, id))


async def list_edits(reader: Database, id: UUID) -> Sequence[Edit]:
    """List the last changes of a job, the newest first."""
    found = await audit.list_page(reader, entity_id=id, before=None, limit=EDITS)
    return [edit(entry) for entry in found.items]


def last_success(ended: Sequence[Execution]) -> Execution | None:
    """Return the newest success of executions, which are the newest first."""
    return next((one for one in ended if one.outcome is Outcome.SUCCEEDED), None)


def changes_since(
    success: Execution | None,
    ended: Sequence[Execution],
    edited: Sequence[Edit],
    *,
    until: datetime | None = None,
) -> list[Difference]:
    """Say what was changed after the last success, where other ends have followed it.

    `until`: no later than then; None: until now.
    """
    if success is None or success is ended[0]:
        return []
    since = success.started_at or success.finished_at
    return together(
        [
            one.parts
            for one in edited
            if one.entry.action == "update"
            and since < one.entry.at
            and (until is None or one.entry.at <= until)
        ]
    )
