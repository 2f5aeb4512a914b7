"""Jobs that wait to be planned or checked: their order, and what became of some."""

from typing import Any
from uuid import UUID

from msgspec import Struct


class Place(Struct, frozen=True, kw_only=True):
    """A place behind which to read on; jobs are in the order of their latest edit."""

    job_id: UUID
    edited_at: str
    """As Postgres writes and reads it."""


class Written(Struct, frozen=True, kw_only=True):
    """What became of plans or verdicts; jobs that are locked or were edited are in neither list."""

    written: list[UUID]
    suppressed: list[UUID]
    """Jobs of which a user's trigger suppressed what was to be written."""

    @property
    def planned(self) -> int:
        return len(self.written)


def columns_of(after: Place | None) -> dict[str, Any]:
    """Return the arguments of a query that reads on behind a place; None: from the beginning."""
    return {
        "after": None if after is None else after.job_id,
        "after_at": None if after is None else after.edited_at,
    }
