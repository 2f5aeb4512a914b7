"""Which kinds of jobs there are instances for, and the jobs for whose kind there is none."""

from collections.abc import Sequence

from app.core.health import NobodysJobs
from app.db.database import Runner

MAX_COUNTED = 1000


async def tell(db: Runner, kinds: Sequence[str]) -> None:
    """Say which kinds an instance can run."""
    await db.fetch("kinds.tell", kinds=kinds)


async def nobodys(db: Runner) -> list[NobodysJobs]:
    """Return the jobs that no instance can run, by kind; of each at most 1,000 are counted."""
    rows = await db.fetch("kinds.nobodys", most=MAX_COUNTED)
    return [NobodysJobs(**row) for row in rows]
