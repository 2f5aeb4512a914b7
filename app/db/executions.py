"""Executions in Postgres, as clients read them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.runs.outcome import Outcome
from app.db.database import MAX_LOOKED_UP, MAX_SEARCHED, Database, Page, Row, Runner
from app.errors import ExecutionNotFound
from app.wire.executions import Execution

INT8_MAX = 2**63 - 1
NEAR = 2000
"""How far around an execution the others of its run are searched for: so many of its job."""
TAGS = msgspec.json.Decoder(list[str])


class ExecutionFilter(Struct, frozen=True, kw_only=True):
    """Which executions to list; None in a field stands for any."""

    job_id: UUID | None = None
    outcomes: Sequence[Outcome] | None = None
    since: datetime | None = None
    """The earliest `finished_at`, included."""
    until: datetime | None = None
    """The latest `finished_at`, not included."""
    kind: str | None = None
    reasons: Sequence[str] | None = None
    statuses: Sequence[range] | None = None
    """Status codes; one range of them suffices."""
    late_by: float | None = None
    """The least seconds from `scheduled_for` to `started_at`."""
    slower_than: float | None = None
    """More seconds than these passed from `started_at` to `finished_at`."""
    tags: Sequence[str] | None = None
    """The job has to have all of these tags now."""
    host: str | None = None
    """The host, in lower case, of the `url` that the job's target has now."""
    dead_letter: bool | None = None
    """Whether it is the last of a run that was given up."""
    last_of_run: bool | None = None
    """Whether it is the last of its run."""

    def searched(self) -> int | None:
        """How many executions a page may search; None: an index serves all of the filters."""
        if (self.tags, self.host, self.dead_letter, self.last_of_run) != (None,) * 4:
            return MAX_LOOKED_UP
        judged = (self.kind, self.reasons, self.statuses, self.late_by, self.slower_than)
        return MAX_SEARCHED if any(one is not None for one in judged) else None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the queries that list executions."""
        statuses = self.statuses
        return {
            "job_id": self.job_id,
            "outcomes": self.outcomes,
            "since": self.since,
            "until": self.until,
            "kind": self.kind,
            "reasons": self.reasons,
            "lowest": None if statuses is None else [one.start for one in statuses],
            "highest": None if statuses is None else [one.stop - 1 for one in statuses],
            "late_by": self.late_by,
            "slower_than": self.slower_than,
            "tags": self.tags,
            "host": self.host,
            "dead_letter": self.dead_letter,
            "last_of_run": self.last_of_run,
        }


async def list_page(
    db: Database, wanted: ExecutionFilter, *, before: int | None, limit: int
) -> Page[Execution]:
    """List executions, newest first, from the first one older than `before`."""
    searched = wanted.searched()
    found = await db.fetch_page(
        "executions.page",
        end="executions.page_end" if searched else None,
        before=before,
        limit=limit,
        window=int(searched * db.search_share) if searched else limit + 1,
        **wanted.arguments(),
    )
    reached = found.end and found.end["id"]
    return Page(items=[execution(row) for row in found.rows], more=found.more, reached=reached)


async def count(db: Database, wanted: ExecutionFilter) -> tuple[dict[Outcome, int], bool]:
    """Count the executions that are found by how they ended, those of the most first.

    Say as well whether these are all: a part is searched.
    """
    most = wanted.searched() or MAX_SEARCHED
    rows = await db.fetch_filtered(
        "executions.count", before=None, window=most, **wanted.arguments()
    )
    counts = {Outcome(row["outcome"]): row["found"] for row in rows if row["found"]}
    return counts, sum(row["judged"] for row in rows) < most


async def find(db: Runner, execution_id: int) -> Execution:
    """Find an execution.

    Raises:
        ExecutionNotFound: there is no such execution, or it was pruned.
    """
    if 0 <= execution_id <= INT8_MAX:
        for row in await db.fetch("executions.find", execution_id=execution_id):
            return execution(row)
    message = f"no execution has the id {execution_id}; old ones are not kept"
    raise ExecutionNotFound(message)


async def list_around(db: Database, one: Execution, *, limit: int) -> list[Execution]:
    """List an execution with up to `limit` of its job before and after it, the newest first."""
    same = ExecutionFilter(job_id=one.job_id)
    before = await list_page(db, same, before=min(one.id + 1, INT8_MAX), limit=limit)
    later = await db.fetch("executions.later", job_id=one.job_id, execution_id=one.id, limit=limit)
    return [*(execution(row) for row in reversed(later)), *before.items]


async def list_of_run(db: Database, one: Execution, *, limit: int) -> list[Execution]:
    """List up to `limit` executions of the run of one, the newest first.

    They are searched for among `NEAR` executions of its job that began before it and after it.
    """
    rows = await db.fetch(
        "executions.of_run",
        job_id=one.job_id,
        execution_id=one.id,
        scheduled_for=one.scheduled_for,
        window=NEAR,
        limit=limit,
    )
    return [execution(row) for row in rows]


async def cancel(db: Runner, execution_id: int, *, retry: bool) -> bool:
    """Cancel an execution; return whether it was under way, or had been cancelled before.

    Another attempt of its run follows if `retry` asks for one and attempts are left.
    """
    if not 0 <= execution_id <= INT8_MAX:
        return False
    return bool(await db.fetch("executions.cancel", execution_id=execution_id, retry=retry))


async def is_under_way(db: Runner, execution_id: int) -> bool:
    """Return whether an execution is under a lease, be that in force or not."""
    if not 0 <= execution_id <= INT8_MAX:
        return False
    [row] = await db.fetch("executions.under_way", execution_id=execution_id)
    return bool(row["under_way"])


async def is_known_job(db: Runner, job_id: UUID) -> bool:
    """Return whether there is such a job, or was one whose executions are still kept."""
    [row] = await db.fetch("executions.known_job", job_id=job_id)
    return bool(row["known"])


def execution(row: Row) -> Execution:
    """Read an execution out of a row."""
    tags = [] if row["tags"] is None else TAGS.decode(row["tags"])
    return Execution(**{**row, "outcome": Outcome(row["outcome"]), "tags": tags})
