"""Runs in Postgres whose holders died."""

from app.core.runs.claim import Claim
from app.core.runs.unbegun import Attempts
from app.db.database import Runner

NONE = Attempts(lost=0, others=0, first_start_at=None, judges_changed_at=None)


async def read_attempts_before(db: Runner, claim: Claim) -> Attempts:
    """Read what is on record of the attempts of a run before that of a claim.

    A run of which other executions of the job have the same instant has others too.
    """
    rows = await db.fetch(
        "takeovers.attempts",
        job_id=claim.job_id,
        execution_id=claim.execution_id,
        scheduled_for=claim.scheduled_for,
    )
    return Attempts(**rows[0]) if rows else NONE  # the job was deleted
