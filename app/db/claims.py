"""The life of a claim in Postgres: look, extend, settle; and planning what psql left unplanned."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim, Execution, Misfire, MisfirePolicy, RetryPolicy, Settlement
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import DstGap, DstOverlap, Schedule
from app.db.database import Row, Runner

UNPLANNED = 100
"""As many jobs the query reads at once to be planned."""

JSON = msgspec.json.Encoder()

# A word that nobody judged stands for the default: it must not break the look at all jobs.
DST_GAPS = {one.value: one for one in DstGap}
DST_OVERLAPS = {one.value: one for one in DstOverlap}
MISFIRES = {one.value: one for one in Misfire}
OUTCOMES = {one.value: one for one in Outcome}


class Look(Struct, frozen=True, kw_only=True):
    """What one look found."""

    claims: list[Claim]
    wakeup_seconds: float | None
    """Until the next job comes due; None: none is planned, or more may be due than was claimed."""
    blocked: bool
    """Some job is due, but somebody else has its row locked."""
    left_from: datetime | None = None
    """Since when the first of the jobs is due that were left because their targets are large."""
    unplanned: bool
    """Some job typed by hand has yet to be planned."""
    unchecked: bool = False
    """Some target typed by hand has yet to be checked."""
    awake_seconds: float | None
    """For so long somebody promises to look often; below zero: did; None: nobody ever."""
    suppressed: Sequence[UUID] = ()
    """These were due and nobody had them locked, but a trigger suppressed the claim."""
    looked_until: datetime | None = None
    """What was due by then was looked for; None: by `begun_at`."""
    begun_at: datetime
    """The database's clock when it began on the look,"""
    ended_at: datetime
    """and when it was done."""


class Unplanned(Struct, frozen=True, kw_only=True):
    """A job whose next run only cron arithmetic can tell."""

    job_id: UUID
    edited_at: datetime
    schedule: Schedule
    is_new: bool = False
    """Nobody has edited it since it was written, and it has not run."""


class Plan(Struct, frozen=True, kw_only=True):
    """The plan of such a job; applied only while `edited_at` is unchanged."""

    job_id: UUID
    edited_at: datetime
    cron: str | None
    timezone: str
    every_seconds: float | None
    next_run: datetime | None
    plan_error: str | None


class Unworkable(Struct, frozen=True, kw_only=True):
    """A job that nothing can be done with until somebody corrects it."""

    job_id: UUID
    fence: int | None = None
    """Of the claim under which that was found; None: of none."""
    problem: str


class Extended(Struct, frozen=True, kw_only=True):
    """What became of some leases; those in neither set have their row locked by somebody."""

    extended: set[UUID]
    lost: set[UUID]
    """Another claim, or no such job."""


class Closed(Struct, frozen=True, kw_only=True):
    """What became of one settlement."""

    job_id: UUID
    fence: int
    settled: bool
    held: bool
    """The lease is still ours, but somebody's transaction has the row locked: settle again."""
    suppressed: bool
    """The lease is still ours and nobody has the row locked, but a trigger suppressed the write."""
    wakeup_seconds: float | None
    """Until the job is due again; None: it is not, or it is paused."""


async def look(  # noqa: PLR0913 - one keyword for each parameter of the query
    session: Runner,
    *,
    limit: int,
    ahead_seconds: float,
    lease_seconds: float,
    kinds: Sequence[str],
    instance: str,
    since: datetime | None = None,
    believed: datetime | None = None,
    aside: Sequence[UUID] = (),
    only: Sequence[UUID] | None = None,
) -> Look:
    """Claim up to `limit` jobs of these kinds, and learn when to look again.

    Jobs that come due within `ahead_seconds` are claimed already; their lease counts from then.
    Those that could be claimed before `since`, those in `aside` and, where `only` is given, all
    others than these are left alone. A clock that is ahead of `believed` makes nothing more due.
    """
    rows = await session.fetch(
        "claims.look",
        limit=limit,
        ahead_seconds=ahead_seconds,
        lease_seconds=lease_seconds,
        kinds=kinds,
        instance=instance,
        since=since,
        believed=believed,
        aside=aside,
        only=only,
    )
    return Look(
        claims=[claim(row) for row in rows if row["job_id"] is not None],
        wakeup_seconds=rows[0]["wakeup_seconds"],
        blocked=rows[0]["blocked"],
        left_from=rows[0]["left_from"],
        unplanned=rows[0]["unplanned"],
        unchecked=rows[0]["unchecked"],
        awake_seconds=rows[0]["awake_seconds"],
        suppressed=rows[0]["suppressed"] or (),
        looked_until=rows[0]["looked_until"],
        begun_at=rows[0]["begun_at"],
        ended_at=rows[0]["ended_at"],
    )


async def due(  # noqa: PLR0913 - as many as a look that finds them has
    db: Runner,
    *,
    limit: int,
    ahead_seconds: float,
    kinds: Sequence[str],
    since: datetime | None,
    aside: Sequence[UUID],
    believed: datetime | None = None,
) -> list[UUID]:
    """Return the ids of what a look with these arguments means to claim, in its order."""
    rows = await db.fetch(
        "claims.due",
        limit=limit,
        ahead_seconds=ahead_seconds,
        kinds=kinds,
        since=since,
        believed=believed,
        aside=aside,
    )
    return [row["id"] for row in rows]


async def put_aside(db: Runner, jobs: Sequence[Unworkable]) -> set[UUID]:
    """Give the jobs a `plan_error` and end their claims; return those that took it."""
    rows = await db.fetch(
        "claims.put_aside",
        job_ids=[one.job_id for one in jobs],
        fences=[one.fence for one in jobs],
        problems=[one.problem for one in jobs],
    )
    return {row["id"] for row in rows}


async def extend(db: Runner, held: Sequence[Claim], *, lease_seconds: float) -> Extended:
    """Extend the leases, each of them another job's."""
    rows = await db.fetch(
        "claims.extend",
        job_ids=[one.job_id for one in held],
        fences=[one.fence for one in held],
        claimed_ats=[one.claimed_at for one in held],
        lease_seconds=lease_seconds,
    )
    return Extended(
        extended={row["job_id"] for row in rows if row["extended"]},
        lost={row["job_id"] for row in rows if row["lost"]},
    )


async def settle(db: Runner, settlements: Sequence[Settlement]) -> list[Closed]:
    """Close many claims in one statement; each takes effect only if its claim still holds."""
    executions = [execution for one in settlements for execution in one.executions]
    rows = await db.fetch(
        "claims.settle",
        settlements=JSON.encode([replace(one, executions=[]) for one in settlements]).decode(),
        executions=JSON.encode(executions).decode(),
    )
    return [Closed(**row) for row in rows]


async def record_late(db: Runner, executions: Sequence[Execution]) -> set[int]:
    """Keep as evidence what came of executions that lost their lease; return their ids.

    Those that were settled after all, by a statement whose answer was lost, are not among them.
    """
    rows = await db.fetch("claims.record_late", executions=JSON.encode(executions).decode())
    return {row["id"] for row in rows}


async def ring(db: Runner) -> None:
    """Wake all instances."""
    await db.fetch("claims.ring")


async def unplanned(
    db: Runner, *, aside: Sequence[UUID] = (), only: Sequence[UUID] | None = None
) -> list[Unplanned]:
    """Return up to 100 jobs that have yet to be planned, longest waiting first."""
    rows = await db.fetch("claims.unplanned", aside=aside, only=only)
    return [
        Unplanned(
            job_id=row["job_id"],
            edited_at=row["edited_at"],
            schedule=schedule(row),
            is_new=row["is_new"],
        )
        for row in rows
    ]


async def unplanned_ids(db: Runner, *, aside: Sequence[UUID]) -> list[UUID]:
    """Return the ids of those that `unplanned` reads."""
    return [row["id"] for row in await db.fetch("claims.unplanned_ids", aside=aside)]


async def plan(db: Runner, plans: Sequence[Plan]) -> int:
    """Write the plans of jobs that nobody edited since they were read; return how many."""
    return len(await db.fetch("claims.plan", plans=JSON.encode(plans).decode()))


def schedule(row: Row) -> Schedule:
    """Read the schedule out of a row that has its columns."""
    return Schedule(
        run_at=row["run_at"],
        cron=row["cron"],
        timezone=row["timezone"],
        every_seconds=row["every_seconds"],
        dst_gap=DST_GAPS.get(row["dst_gap"], DstGap.RUN_AFTER),
        dst_overlap=DST_OVERLAPS.get(row["dst_overlap"], DstOverlap.FIRST),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
    )


def claim(row: Row) -> Claim:
    """Read a claim out of a row of the look."""
    return Claim(
        job_id=row["job_id"],
        name=row["name"],
        kind=row["kind"],
        target=row["target"],
        schedule=schedule(row),
        max_runs=row["max_runs"],
        retry=RetryPolicy(
            max_attempts=row["max_attempts"],
            backoff_seconds=row["backoff_seconds"],
            backoff_max_seconds=row["backoff_max_seconds"],
        ),
        late=MisfirePolicy(
            misfire=MISFIRES.get(row["misfire"], Misfire.RUN_ONCE),
            grace_seconds=row["misfire_grace_seconds"],
            max_catchup=row["max_catchup"],
        ),
        timeout_seconds=row["timeout_seconds"],
        next_run=row["next_run"],
        scheduled_for=row["scheduled_for"],
        resume_at=row["resume_at"],
        extra=row["extra"],
        attempt=row["attempt"],
        fence=row["fence"],
        execution_id=row["execution_id"],
        claimed_at=row["claimed_at"],
        edited_at=row["edited_at"],
        last_outcome=OUTCOMES.get(row["last_outcome"]),
        last_finished_at=row["last_finished_at"],
        consecutive_failures=row["consecutive_failures"],
        runs=row["runs"],
    )
