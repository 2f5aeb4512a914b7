"""Jobs that wait to be planned or checked: their order, and what became of some."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct

from app.db.database import Row


class Position(Struct, frozen=True, kw_only=True):
    """A position behind which to read on; jobs are in the order of their latest edit."""

    job_id: UUID
    edited_at: str
    """As Postgres writes and reads it."""


class Finding(Struct, frozen=True, kw_only=True):
    """What is to be written about a waiting job, if its `edited_at` is unchanged."""

    job_id: UUID
    edited_at: datetime
    plan_error: str | None
    """Why the job cannot be carried out; None for one that can."""


class Written(Struct, frozen=True, kw_only=True):
    """Which findings were written and which not; jobs locked or edited are in neither list."""

    written: list[UUID]
    suppressed: list[UUID]
    """Jobs of which a user's trigger suppressed what was to be written."""


def columns_of(after: Position | None) -> dict[str, Any]:
    """Return the arguments of a query that reads on behind a position; None: from the beginning."""
    return {
        "after": None if after is None else after.job_id,
        "after_at": None if after is None else after.edited_at,
    }


class Waiting(Protocol):
    """A job that waits to be planned or checked."""

    @property
    def job_id(self) -> UUID: ...

    @property
    def edited_at(self) -> datetime: ...


def last_position(jobs: Sequence[Waiting]) -> Position | None:
    """Return where the last of some jobs stands among those that wait for the same."""
    return (
        Position(job_id=jobs[-1].job_id, edited_at=jobs[-1].edited_at.isoformat()) if jobs else None
    )


def written_of(rows: Iterable[Row]) -> Written:
    """Read what became of plans or verdicts out of rows that tell whether each was written."""
    written: list[UUID] = []
    suppressed: list[UUID] = []
    for row in rows:
        (written if row["written"] else suppressed).append(row["job_id"])
    return Written(written=written, suppressed=suppressed)
