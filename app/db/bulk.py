"""Bulk actions in Postgres: asked for, taken by instances, and moved along step by step."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.access.key_limits import NO_LIMITS, KeyLimits
from app.core.jobs.exact_json import number
from app.core.runs.claim import Missed
from app.db.database import Database, Page, Row, Runner
from app.errors import BulkNotFound
from app.wire.actions import AskedOverlap
from app.wire.bulk import Bulk, BulkProblem, BulkState

OBJECT = msgspec.json.Decoder(dict[str, Any], float_hook=number)
LIMITS = msgspec.json.Decoder(KeyLimits)
PROBLEMS = msgspec.json.Decoder(list[BulkProblem])
ENCODER = msgspec.json.Encoder()
MAX_PROBLEMS = 50
"""How many problems an action keeps."""
LEASE_SECONDS = 30.0
"""How long an instance may be silent before another one goes on with its bulk actions."""


class Done(Struct, kw_only=True):
    """What a step has done."""

    reached: str
    """The job or execution behind which the next step begins."""
    matched: int = 0
    changed: int = 0
    unchanged: int = 0
    problems: list[BulkProblem] = []


async def ask(  # noqa: PLR0913 - the columns
    db: Runner,
    *,
    id: UUID,
    action: str,
    wanted: bytes,
    options: bytes,
    expected: int | None,
    limits: KeyLimits,
) -> Bulk:
    """Ask for an action.

    Raises:
        InvalidInput: the database refuses its filter or options.
    """
    await db.fetch(
        "bulk.ask",
        id=id,
        action=action,
        filter=wanted.decode(),
        options=options.decode(),
        expected=expected,
        limits=ENCODER.encode(limits).decode() if limits.is_any() else None,
    )
    return await find(db, id)


async def find(db: Runner, id: UUID) -> Bulk:
    """Find an action.

    Raises:
        BulkNotFound: there is no such action, or it was pruned.
    """
    for row in await db.fetch("bulk.find", id=id):
        return read(row)
    message = f"no bulk action has the id {str(id)!r}; old ones are not kept"
    raise BulkNotFound(message)


async def list_page(db: Database, *, before: UUID | None, limit: int) -> Page[Bulk]:
    """List actions, newest first, from the first one older than `before`."""
    found = await db.fetch_page("bulk.page", before=before, limit=limit)
    return Page(items=[read(row) for row in found.rows], more=found.more)


async def cancel(db: Runner, id: UUID) -> bool:
    """Cancel an action; return False if it has ended, or there is none."""
    return bool(await db.fetch("bulk.cancel", id=id))


class Taken(Struct, frozen=True, kw_only=True):
    """What an instance was given to work on."""

    actions: dict[UUID, bool]
    """These actions, and of each whether it starts runs."""
    leaves_some: bool
    """Whether there are others that no instance works on."""
    has_others: bool
    """Whether there are others."""


async def take(  # noqa: PLR0913 - one keyword for each parameter of the query
    db: Runner,
    *,
    instance: str,
    mine: Sequence[UUID],
    starting: Collection[str],
    limit: int,
    starting_limit: int,
) -> Taken:
    """Take actions that no instance works on, beside `mine`.

    Up to `starting_limit` of the actions called `starting`, and up to `limit` of the others.
    """
    rows = await db.fetch(
        "bulk.take",
        instance=instance,
        mine=mine,
        starting=list(starting),
        limit=limit,
        starting_limit=starting_limit,
        lease_seconds=LEASE_SECONDS,
    )
    return Taken(
        actions={row["id"]: row["is_starting"] for row in rows if row["id"] is not None},
        leaves_some=rows[0]["leaves_some"],
        has_others=rows[0]["has_others"],
    )


async def extend(db: Runner, ids: Collection[UUID], *, instance: str) -> set[UUID]:
    """Extend the leases of actions, and return those that are still this instance's."""
    rows = await db.fetch(
        "bulk.extend", ids=list(ids), instance=instance, lease_seconds=LEASE_SECONDS
    )
    return {row["id"] for row in rows}


@asynccontextmanager
async def step(
    db: Database, id: UUID, *, instance: str, reached: str | None
) -> AsyncIterator[Runner | None]:
    """Open the transaction of a step that begins behind `reached`; an error undoes the step.

    Yields None if this instance has no such step to take: the action has ended, or is another's.
    """
    async with db.transaction() as transaction:
        begun = await transaction.fetch(
            "bulk.begin_step",
            id=id,
            instance=instance,
            reached=reached,
            lease_seconds=LEASE_SECONDS,
        )
        yield transaction if begun else None


async def end_step(transaction: Runner, id: UUID, done: Done, *, is_last: bool) -> None:
    """Write down what a step has done, in its transaction."""
    await transaction.fetch(
        "bulk.end_step",
        id=id,
        reached=done.reached,
        matched=done.matched,
        changed=done.changed,
        unchanged=done.unchanged,
        failed=len(done.problems),
        problems=ENCODER.encode(done.problems[:MAX_PROBLEMS]).decode(),
        is_last=is_last,
    )


async def fail(db: Runner, id: UUID, *, instance: str, error: str) -> None:
    """End an action before its end."""
    await db.fetch("bulk.fail", id=id, instance=instance, error=error.replace("\0", ""))


async def forget_target(db: Runner, id: UUID) -> None:
    """Remove what an edit that has ended wrote into targets."""
    await db.fetch("bulk.forget_target", id=id)


async def release(db: Runner, ids: Sequence[UUID], *, instance: str) -> None:
    """Leave actions to other instances, and wake these."""
    await db.fetch("bulk.release", ids=ids, instance=instance)
    await db.fetch("bulk.wake")


async def run_now(db: Runner, ids: Sequence[UUID], *, overlap: AskedOverlap) -> dict[UUID, bool]:
    """Run jobs now; say of each whose row is not locked whether that was asked for.

    Raises:
        InvalidInput: `overlap` refuses the run of one of them.
    """
    rows = await db.fetch("bulk.run_now", ids=ids, overlap=overlap)
    return {row["id"]: row["is_run"] for row in rows}


async def cancel_executing(db: Runner, ids: Sequence[UUID], *, retry: bool) -> set[UUID]:
    """Cancel all that executes of jobs; return those of which something did."""
    return {row["id"] for row in await db.fetch("bulk.cancel_executing", ids=ids, retry=retry)}


async def skip(
    db: Runner, ids: Sequence[UUID], *, runs: int | None, until: datetime | None
) -> set[UUID]:
    """Skip runs of jobs, or none any more without both; return those whose rows are not locked.

    Raises:
        InvalidInput: a job has no run to skip, or the instant has passed.
    """
    rows = await db.fetch("bulk.skip", ids=ids, runs=runs, until=until)
    return {row["id"] for row in rows if row["is_written"]}


async def pause(
    db: Runner, ids: Sequence[UUID], *, reason: str | None, until: datetime | None
) -> set[UUID]:
    """Pause jobs, saying why and until when; return those whose rows are not locked.

    Raises:
        InvalidInput: the instant has passed.
    """
    rows = await db.fetch("bulk.pause", ids=ids, reason=reason, until=until)
    return {row["id"] for row in rows if row["is_written"]}


async def resume(db: Runner, ids: Sequence[UUID], *, missed: Missed | None) -> set[UUID]:
    """Resume jobs, saying what becomes of missed runs; return those whose rows are not locked.

    Raises:
        InvalidInput: a tag of one of them is paused.
    """
    rows = await db.fetch("bulk.resume", ids=ids, missed=missed)
    return {row["id"] for row in rows if row["is_written"]}


def read(row: Row) -> Bulk:
    """Read an action out of a row."""
    columns = dict(row.items())
    columns.pop("reached")
    columns |= {
        "filter": OBJECT.decode(row["filter"]),
        "options": OBJECT.decode(row["options"]),
        "problems": PROBLEMS.decode(row["problems"]),
        "state": BulkState(row["state"]),
    }
    return Bulk(**columns)


async def find_limits(db: Runner, id: UUID) -> KeyLimits:
    """Return the limits of the API key that asked for an action."""
    [row] = await db.fetch("bulk.limits", id=id)
    return NO_LIMITS if row["limits"] is None else LIMITS.decode(row["limits"])


async def read_reached(db: Runner, id: UUID) -> str | None:
    """Return the last job or execution that an action is done with."""
    [row] = await db.fetch("bulk.find", id=id)
    reached: str | None = row["reached"]
    return reached


class Room(Struct, frozen=True, kw_only=True):
    """How a job stands that is to get runs beside its plan."""

    id: UUID
    name: str | None
    kind: str
    paused: bool
    invalid: bool
    pending_runs: int
    scheduled_for: datetime | None
    """The run that its `next_run` stands for."""


async def find_room(db: Runner, ids: Sequence[UUID]) -> dict[UUID, Room]:
    """Return how jobs stand; those that were deleted are left out."""
    rows = await db.fetch("bulk.room", ids=ids)
    return {row["id"]: Room(**row) for row in rows}


class Added(Struct, frozen=True, kw_only=True):
    """What became of runs that were asked for."""

    held: int
    """How many have jobs whose rows are not locked by others."""
    pending: int
    """How many of these were to be carried out anyway."""
    added: int


async def add_runs(
    db: Runner,
    job_ids: Sequence[UUID],
    runs: Sequence[datetime],
    *,
    request: str,
    overlap: AskedOverlap,
) -> Added:
    """Ask for runs beside the plan, in this order; each at most once while it is pending.

    Raises:
        InvalidInput: `overlap` refuses one of them.
    """
    rows = await db.fetch(
        "bulk.add_runs", job_ids=job_ids, runs=runs, request=request, overlap=overlap
    )
    return Added(
        held=len(rows),
        pending=sum(row["is_pending"] for row in rows),
        added=rows[0]["added"] if rows else 0,
    )
