"""The plan of a job while a run of it is under way."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim
from app.core.schedule.spread import PlannedRun
from app.db.claims import CLOSED, OVERLAPS
from app.db.database import Database
from app.db.schedules import schedule


class PlanBehind(Struct, frozen=True, kw_only=True):
    """What a job has planned behind the run of a claim."""

    claim: Claim
    """The claim with the schedule and the policy that the job has now."""
    next_run: datetime | None
    scheduled_for: datetime | None
    planned: bool
    """Whether `next_run` is the plan; an instance has yet to work it out otherwise."""
    held_up: bool
    """Whether no run may start now: everything is paused, or a tag or the flow of the job is."""


async def plan_behind(db: Database, claim: Claim) -> PlanBehind | None:
    """Read the plan of the job of a claim; None if the claim is lost, or the job is on pause."""
    rows = await db.fetch(
        "overlap.plan_behind", id=claim.id, fence=claim.fence, claimed_at=claim.claimed_at
    )
    if not rows:
        return None
    [row] = rows
    now = replace(
        claim,
        schedule=schedule(row),
        max_runs=row["max_runs"],
        skip_runs=row["skip_runs"],
        skip_until=row["skip_until"],
        overlap=OVERLAPS.get(row["overlap"], claim.overlap),
        calendars=row["calendars"] or (),
        on_closed=CLOSED.get(row["on_closed"], claim.on_closed),
    )
    return PlanBehind(
        claim=now,
        next_run=row["next_run"],
        scheduled_for=row["scheduled_for"],
        planned=row["planned"],
        held_up=row["held_up"],
    )


async def part_run(
    db: Database, claim: Claim, *, run_id: UUID, following: PlannedRun | None
) -> datetime | None:
    """Give the run of a claim a row of its own, and plan its job for `following`.

    Return the `edited_at` of that row; None: the run stays that of its job's row.
    """
    rows = await db.fetch(
        "overlap.part_run",
        id=claim.id,
        fence=claim.fence,
        claimed_at=claim.claimed_at,
        next_run=claim.next_run,
        run_id=run_id,
        following=following.scheduled_for if following else None,
        starts_at=following.next_run if following else None,
    )
    edited_at: datetime | None = rows[0]["edited_at"]
    return edited_at
