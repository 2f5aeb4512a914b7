"""Keeps what came of executions whose lease was lost, and frees the leases of cancelled ones."""

from collections.abc import Sequence

import msgspec

from app.core.runs.claim import Claim, Execution
from app.db.database import Runner

JSON = msgspec.json.Encoder()


async def record(db: Runner, executions: Sequence[Execution]) -> set[int]:
    """Record executions that had lost their lease; return the ids of those recorded.

    An execution that was settled before, by a statement whose answer was lost, is left as it is.
    """
    rows = await db.fetch("evidence.record", executions=JSON.encode(executions).decode())
    return {row["id"] for row in rows}


async def free_cancelled(db: Runner, late: Sequence[Claim], *, instance: str) -> set[int]:
    """Return the ids of those executions, of claims that `instance` lost, that were cancelled.

    These executions are cut off by now: what is left of their leases is freed.
    """
    rows = await db.fetch(
        "evidence.free_cancelled",
        ids=[one.id for one in late],
        job_ids=[one.job_id for one in late],
        fences=[one.fence for one in late],
        execution_ids=[one.execution_id for one in late],
        instance=instance,
    )
    return {row["id"] for row in rows}
