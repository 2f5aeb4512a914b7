"""Jobs that run soon, as groups with the same schedule and plan."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.schedule.upcoming import Group
from app.db.database import MAX_SEARCHED, Database, Runner
from app.db.schedules import schedule

MAX_GROUPS = 5000
"""Groups with a schedule or plan of their own that are looked at: each takes a search."""


class Soon(Struct, frozen=True, kw_only=True):
    """The jobs that run soon."""

    groups: list[Group]
    reached: datetime | None
    """The instant from which on jobs are missing; None: none are."""


async def list_groups(
    db: Database, *, now: datetime, until: datetime, with_ids: bool, jobs: int = MAX_SEARCHED
) -> Soon:
    """Find the jobs that can be claimed before `until`, and those that execute.

    Left out are paused and invalid jobs, and those whose plan waits for a run beside it.
    `jobs`: the most that can be claimed, the soonest first.
    """
    most = int(MAX_SEARCHED * db.search_share)
    rows = await db.fetch(
        "jobs.upcoming",
        now=now,
        until=until,
        jobs=min(jobs, most),
        most=most,
        groups=MAX_GROUPS,
        with_ids=with_ids,
    )
    reached = rows[0]["reached"] if rows else None
    if len(rows) > MAX_GROUPS and (last := rows[-1]["next_run"]) is not None:
        reached = min(last, reached or last)
    groups = [
        Group(
            schedule=schedule(row),
            job_id=row["hash_id"],
            next_run=row["next_run"],
            scheduled_for=row["scheduled_for"],
            runs_left=row["runs_left"],
            skip_runs=row["skip_runs"] or 0,
            skip_until=row["skip_until"],
            begun=row["begun"],
            jobs=row["jobs"],
            ids=row["ids"] or (),
        )
        for row in rows[:MAX_GROUPS]
        if row["scheduled_for"] is not None
    ]
    return Soon(groups=groups, reached=reached)


async def read_names(db: Runner, ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Return the names of these jobs; a job that was deleted meanwhile has none."""
    rows = await db.fetch("jobs.names", ids=ids)
    return {row["id"]: row["name"] for row in rows}
