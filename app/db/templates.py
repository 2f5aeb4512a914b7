"""What templates can say of a job, read for its runs that have some."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.schedule.schedule import Schedule
from app.db.database import Runner
from app.db.schedules import schedule


class JobOfRun(Struct, frozen=True, kw_only=True):
    """A job as it is when a run of it is about to start."""

    tags: list[str]
    metadata: dict[str, Any]
    last_outcome: str | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int
    schedule: Schedule


async def read_job(db: Runner, job_id: UUID) -> JobOfRun | None:
    """Read a job; None if it was deleted.

    Raises:
        ValueError: its metadata are JSON that Python cannot hold.
    """
    rows = await db.fetch("templates.job", id=job_id)
    if not rows:
        return None
    [row] = rows
    return JobOfRun(
        tags=list(row["tags"] or ()),
        metadata=msgspec.json.decode(row["metadata"] or "{}", type=dict[str, Any]),
        last_outcome=row["last_outcome"],
        last_finished_at=row["last_finished_at"],
        consecutive_failures=row["consecutive_failures"],
        runs=row["runs"],
        schedule=schedule(row),
    )
