"""Checks the claims of runs beside the plan: each waits for other executions of its job."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from app.core.runs.claim import Claim, Settlement
from app.core.runs.transition import deferred
from app.db.database import Runner

RETRY_SECONDS = 0.2
"""The shortest wait of a run for another execution of its job."""


async def check(
    db: Runner, claimed: Sequence[Claim], *, believed: datetime | None
) -> tuple[list[Claim], list[Settlement], float | None]:
    """Give claims of runs beside the plan the names of their jobs, and tell which have to wait.

    A run has to wait if its job, or another run of it, is still under a lease.

    Returns:
        The claims that may start, those of jobs too; settlements that release the others; and in
        how many seconds the first of the others is due again, None without any.
    """
    runs = [one.id for one in claimed if one.run_id]
    rows = await db.fetch("runs.check", ids=runs, believed=believed)
    checked = {row["id"]: row for row in rows}
    begun: list[Claim] = []
    early: list[Settlement] = []
    waits: list[float] = []
    for one in claimed:
        if one.run_id is None:
            begun.append(one)
        elif (row := checked.get(one.id)) is not None:  # else the run was deleted in between
            if row["wait_seconds"] is None:
                begun.append(replace(one, name=row["name"], request=row["request"]))
            else:
                wait = max(row["wait_seconds"], RETRY_SECONDS)
                waits.append(wait)
                early.append(deferred(one, until=row["now"] + timedelta(seconds=wait)))
    return begun, early, min(waits, default=None)
