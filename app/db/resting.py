"""Jobs that instances leave alone, as they can neither be claimed nor given a `plan_error`."""

from uuid import UUID

from app.core.instance_health import RestingJobs
from app.db.database import Runner


async def record_resting(
    db: Runner, *, instance: str, jobs: int, job_id: UUID, problem: str
) -> None:
    """Record how many jobs an instance leaves alone, with an example and its reason."""
    await db.fetch("resting.tell", instance=instance, jobs=jobs, job_id=job_id, problem=problem)


async def forget_resting(db: Runner, *, instance: str) -> None:
    """Record that an instance leaves no job alone."""
    await db.fetch("resting.forget", instance=instance)


async def list_resting(db: Runner) -> list[RestingJobs]:
    """List what instances have recorded in the last three minutes."""
    return [RestingJobs(**row) for row in await db.fetch("resting.told")]
