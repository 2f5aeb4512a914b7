"""Runs of a job side by side: how a run is parted from the plan of its job."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, MisfirePolicy, Overlap
from app.core.schedule.schedule import Schedule, run_after
from app.core.schedule.spread import PlannedRun, spread


def may_be_parted(claim: Claim) -> bool:
    """Whether a claim is one of a plan whose runs may be under way side by side."""
    return (
        claim.overlap is Overlap.ALLOW_ALL
        and claim.run_id is None
        and claim.schedule.run_at is None
    )


def planned_behind(claim: Claim) -> PlannedRun | None:
    """Return the run of the plan after that of a claim; `max_runs` is left to the database."""
    occurrence = run_after(claim.schedule, claim.scheduled_for, job_id=claim.job_id)
    return None if occurrence is None else spread(claim.schedule, occurrence, job_id=claim.job_id)


def parted(claim: Claim, *, run_id: UUID, edited_at: datetime) -> Claim:
    """Return the claim of a run that has a row of its own from now on, under the same lease."""
    return replace(
        claim,
        id=run_id,
        schedule=Schedule(run_at=claim.scheduled_for),
        max_runs=None,
        late=MisfirePolicy(misfire=Misfire.RUN_ONCE, grace_seconds=None, max_catchup=0),
        overlap=Overlap.BUFFER_ALL,
        edited_at=edited_at,
        last_outcome=None,
        last_finished_at=None,
        consecutive_failures=0,
        runs=0,
        skip_runs=None,
        skip_until=None,
        calendars=(),
        min_gap_seconds=None,
    )
