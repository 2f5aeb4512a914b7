"""The life of a claim in Postgres: look, settle."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NotRequired, Self, TypedDict, Unpack
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import (
    Claim,
    Execution,
    Misfire,
    MisfirePolicy,
    Missed,
    OnClosed,
    Overlap,
    RetryPolicy,
    Settlement,
)
from app.core.runs.expectation import CHECK
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import Schedule
from app.db import pauses, runs
from app.db.database import Row, Runner
from app.db.pauses import Scope
from app.db.schedules import DST_GAPS, DST_OVERLAPS, Words

JSON = msgspec.json.Encoder()

MISFIRES = Words(Misfire, Misfire.RUN_ONCE)
RESUMES = {one.value: one for one in Missed}
OVERLAPS = Words(Overlap, Overlap.BUFFER_ALL)
CLOSED = Words(OnClosed, OnClosed.SKIP)
OUTCOMES = {one.value: one for one in Outcome}

COLUMNS = 43
"""How many columns of a look's answer are of a claim: the first ones."""


class Lost(Struct, frozen=True, kw_only=True):
    """An execution whose lease ended before its settlement; its job is claimed anew."""

    id: int
    job_id: UUID
    instance: str | None = None


LOST = msgspec.json.Decoder(Lost)


class Look(Struct, frozen=True, kw_only=True):
    """The result of one look."""

    claims: list[Claim]
    wakeup_seconds: float | None
    """Seconds until the next job is due; None if none is planned, or the look reached its limit."""
    blocked: bool
    """Whether a due job was not claimed, as another transaction has its row locked."""
    left_from: datetime | None = None
    """The instant at which the first job was due that this look left to the next one, as their
    targets together are too large; None if there is no such job."""
    unplanned: bool
    """Whether some job written in SQL has yet to be planned."""
    paused: bool = False
    """Whether everything is paused, so that nothing was claimed."""
    pause_seconds: float | None = None
    """Seconds until the first pause ends; None if none ends by itself."""
    polling_seconds: float | None
    """How long an announcement of polling stays in force; negative once over, None without one."""
    suppressed: Sequence[UUID] = ()
    """Due jobs that were not locked, but whose claim a user's trigger suppressed."""
    lost: Sequence[Lost] = ()
    """The executions that other instances, or this one, had lost of the jobs that were claimed."""
    record_error: str | None = None
    """Why Postgres refused to record an execution as lost; its job was claimed all the same."""
    looked_until: datetime | None = None
    """The latest `next_run` that the look covered; None stands for `begun_at`."""
    begun_at: datetime
    """When the look began, on the database's clock."""
    ended_at: datetime
    """When the look ended, on the database's clock."""

    @property
    def took_seconds(self) -> float:
        return (self.ended_at - self.begun_at).total_seconds()


class Asked(TypedDict):
    """What every look is asked."""

    limit: int
    """How many jobs to claim at most."""
    lease_seconds: float
    kinds: Sequence[str]
    """The kinds of these jobs."""
    instance: str
    ahead_seconds: NotRequired[float]
    """Jobs that come due within this time are claimed too; their leases begin when they are due."""
    believed: NotRequired[datetime | None]
    """Jobs that are due later are left alone, even if the database's clock says so."""
    aside: NotRequired[Sequence[UUID]]
    """The jobs to leave alone."""
    only: NotRequired[Sequence[UUID] | None]
    """The jobs to claim; None for all others."""


class AskedSince(Asked):
    """What a look along the order in which jobs come due is asked besides."""

    since: NotRequired[datetime | None]
    """Jobs that were due earlier are left alone."""


UNASKED: dict[str, Any] = {"ahead_seconds": 0.0, "believed": None, "aside": (), "only": None}
"""What stands for that which a look is not asked."""


class Closed(Struct, frozen=True, kw_only=True):
    """Whether one settlement took effect."""

    settled: bool
    held: bool
    """Whether to settle again: the claim holds, but another transaction has the row locked."""
    suppressed: bool
    """Whether the claim holds, unlocked, but a user's trigger suppressed the settlement."""
    wakeup_seconds: float | None
    """Seconds until the job is due again; None for a job without a next run or on pause."""


SETTLED = Closed(settled=True, held=False, suppressed=False, wakeup_seconds=None)
"""Of a settlement that took effect, after which the job is not due again."""


class SettlementRow(Struct, frozen=True, omit_defaults=True):
    """A settlement as its statement reads it, with the execution of its claim, if there was one.

    Defaults are left out, as is what the execution has in common with the settlement, and an
    instant that is the same as another: see the statement. Seconds are those since the claim.
    """

    id: UUID
    fence: int
    runs: int
    look: int = 1
    expected_seconds: float | None = None
    next_run: datetime | None = None
    scheduled_seconds: float | None = None
    attempt: int = 0
    plan_error: str | None = None
    last_outcome: Outcome | None = None
    finished_seconds: float | None = None
    consecutive_failures: int = 0
    skip_runs: int | None = None
    edit_seen_at: datetime | None = None
    execution_id: int | None = None
    kind: str | None = None
    run_scheduled_for: datetime | None = None
    run_attempt: int | None = 1
    reason: str | None = None
    started_seconds: float | None = None
    instance: str | None = None
    status_code: int | None = None
    response: str | None = None
    error: str | None = None

    @classmethod
    def of(
        cls, one: Settlement, own: Execution | None, look: int = 1, instance: str | None = None
    ) -> Self:
        """Word a settlement.

        - `own`: the execution to record with it, see `own_execution`.
        - `look`: at which of the instants of the batch it was claimed, from 1.
        - `instance`: who carried out all of the batch that does not say who did.
        """
        is_compared = one.plan_error is not None or one.skip_runs is not None
        next_run, scheduled_for, expected = one.next_run, one.scheduled_for, one.expected_next_run
        since, finished_at = one.claimed_at, one.last_finished_at
        # By position, as so many keywords take three times as long.
        # fmt: off
        plan = (
            one.id, one.fence, one.runs, look,
            None if expected == scheduled_for else (expected - since).total_seconds(), next_run,
            None if scheduled_for is None or scheduled_for == next_run
            else (scheduled_for - since).total_seconds(),
            one.attempt, one.plan_error, one.last_outcome,
            None if finished_at is None else (finished_at - since).total_seconds(),
            one.consecutive_failures, one.skip_runs, one.edit_seen_at if is_compared else None,
        )
        if own is None:
            return cls(*plan)
        run, started_at = own.scheduled_for, own.started_at
        return cls(
            *plan, own.id, own.kind, None if run == expected else run, own.attempt, own.reason,
            None if started_at is None else (started_at - since).total_seconds(),
            None if own.instance == instance else own.instance,
            own.status_code, own.response, own.error,
        )
        # fmt: on


async def look(session: Runner, *, by_priority: bool = False, **asked: Unpack[AskedSince]) -> Look:
    """Claim jobs, and learn when the next look is needed.

    `by_priority`: claim by rank instead of in the order in which jobs came due. To claim by rank
    costs more, and matters only where more is due than is claimed.
    """
    name = "claims.look_by_priority" if by_priority else "claims.look"
    found, rows = await ask(session, name, **asked)
    claimed = [claim(row, found["begun_at"]) for row in rows]
    believed, aside = asked.get("believed"), asked.get("aside", ())
    suppressed: Sequence[UUID] = ()
    if found["found_ids"] is not None:
        others = {*(found["left_ids"] or ()), *(one.id for one in claimed)}
        suppressed = [id for id in found["found_ids"] if id not in others]
    wakeup_seconds = found["next_seconds"]
    scope, pause_seconds = found["pause_scope"], found["pause_seconds"]
    if scope == Scope.ALL:
        wakeup_seconds = None  # what is due waits for the end of the pause
    blocked = wakeup_seconds is not None and wakeup_seconds <= 0
    if blocked:
        leave = [*aside, *(one.id for one in claimed)]
        later = await session.fetch(
            "claims.wakeup", kinds=asked["kinds"], believed=believed, aside=leave
        )
        wakeup_seconds = later[0]["wakeup_seconds"] if later else None
    claimed, wait = await check_claimed(session, claimed, scope=scope, believed=believed)
    if wait is not None:
        wakeup_seconds = wait if wakeup_seconds is None else min(wakeup_seconds, wait)
    if scope is not None and scope < Scope.JOB:
        pause_seconds = await pauses.read_seconds_to_end(session, believed=believed)
    return Look(
        paused=scope == Scope.ALL,
        pause_seconds=pause_seconds,
        claims=claimed,
        wakeup_seconds=wakeup_seconds,
        blocked=blocked,
        left_from=found["left_from"],
        unplanned=found["unplanned"],
        polling_seconds=found["polling_seconds"],
        suppressed=suppressed,
        lost=[LOST.decode(row["lost"]) for row in rows if row["lost"] is not None],
        record_error=found["record_error"],
        looked_until=found["looked_until"],
        begun_at=found["begun_at"],
        ended_at=found["ended_at"],
    )


async def ask(session: Runner, name: str, **asked: Unpack[AskedSince]) -> tuple[Row, list[Row]]:
    """Look by a statement; return the row of what it found, and the rows of claims."""
    arguments = {**UNASKED, "since": None, **asked}
    rows = await session.fetch(name, **arguments)
    [found] = [row for row in rows if row["begun_at"] is not None]
    return found, [row for row in rows if row is not found]


async def check_claimed(
    session: Runner, claimed: list[Claim], *, scope: int | None, believed: datetime | None
) -> tuple[list[Claim], float | None]:
    """Settle those of the claims that are early, and mark those that a pause of a tag holds.

    `scope`: the widest of the pauses there are. Return the claims that are left, and the seconds
    until the first early one is due; None without any.
    """
    wait = None
    if any(one.run_id for one in claimed):
        claimed, early, wait = await runs.check(session, claimed, believed=believed)
        if early:
            await settle(session, early)
    if claimed and scope == Scope.TAG:
        held = set(await pauses.hold_claimed(session, [one.id for one in claimed]))
        claimed = [replace(one, paused=True) if one.id in held else one for one in claimed]
    return claimed, wait


async def settle(db: Runner, settlements: Sequence[Settlement]) -> list[Closed]:
    """Close many claims in one statement; a settlement takes effect only if its claim holds.

    Return what became of each settlement, in their order.
    """
    owns = [own_execution(one) for one in settlements]
    others = [
        execution
        for one, own in zip(settlements, owns, strict=True)
        if own is None or len(one.executions) > 1
        for execution in one.executions
        if execution is not own
    ]
    instances = {own.instance for own in owns if own is not None}
    instance = instances.pop() if len(instances) == 1 else None
    looks: dict[datetime, int] = {}
    worded = [
        SettlementRow.of(one, own, looks.setdefault(one.claimed_at, len(looks) + 1), instance)
        for one, own in zip(settlements, owns, strict=True)
    ]
    rows = await db.fetch(
        "claims.settle"
        if all(one.skip_runs is None for one in settlements)
        else "claims.settle_skipped",
        settlements=JSON.encode(worded).decode(),
        claimed_ats=list(map(str, looks)),
        instance=instance,
        executions=JSON.encode(others).decode(),
        many=len(settlements),
    )
    if not rows:  # as usual for one-offs
        return [SETTLED] * len(settlements)
    told = {(row["id"], row["fence"]): closed(row) for row in rows}
    return [told.get((one.id, one.fence), SETTLED) for one in settlements]


def own_execution(one: Settlement) -> Execution | None:
    """Return the execution of the claim of a settlement; None if none says the same as it does.

    Runs that were missed have no id: Postgres gives them one.
    """
    last = one.executions[-1] if one.executions else None
    if (
        last is None
        or last.id is None
        or last.attempt is None
        or last.outcome is not one.last_outcome
        or last.finished_at != one.last_finished_at
    ):
        return None
    return last


def closed(row: Row) -> Closed:
    """Read what became of a settlement."""
    return Closed(
        settled=row["settled"],
        held=row["held"],
        suppressed=row["suppressed"],
        wakeup_seconds=row["wakeup_seconds"],
    )


async def wake_instances(db: Runner) -> None:
    """Wake all instances."""
    await db.fetch("claims.wake")


def claim(row: Row, claimed_at: datetime) -> Claim:
    """Read a claim out of a row of a look; `claimed_at`: when the look began.

    All by position, as to look up and to pass on so many names takes four times as long as the
    rest of this: the first columns are those of the part `claimed` in db/queries/claims.sql.
    """
    # fmt: off
    (
        id, run_of, name, kind, target, run_at, cron, timezone, every_seconds, dst_gap, dst_overlap,
        starts_at, ends_at, jitter_seconds, jitter_percent, max_runs, max_attempts, backoff_seconds,
        backoff_max_seconds, misfire, misfire_grace_seconds, max_catchup, overlap, timeout_seconds,
        next_run, scheduled_for, attempt, fence, execution_id, edited_at, last_outcome,
        last_finished_at, consecutive_failures, runs, priority, skip_runs, skip_until, resumed_at,
        resume_missed, calendars, on_closed, min_gap_seconds, lost,
    ) = row[:COLUMNS]
    return Claim(
        id, run_of or id, name, kind, target,
        Schedule(
            run_at, cron, timezone, every_seconds, DST_GAPS[dst_gap], DST_OVERLAPS[dst_overlap],
            starts_at, ends_at, jitter_seconds, jitter_percent,
        ),
        max_runs,
        RetryPolicy(
            max_attempts=max_attempts,
            backoff_seconds=backoff_seconds,
            backoff_max_seconds=backoff_max_seconds,
        ),
        MisfirePolicy(
            misfire=MISFIRES[misfire],
            grace_seconds=misfire_grace_seconds,
            max_catchup=max_catchup,
        ),
        OVERLAPS[overlap], timeout_seconds, next_run, scheduled_for or next_run,
        # A look for pings begins none: whoever claims the check judges it anew.
        1 if kind == CHECK and run_of is None else attempt,
        fence, execution_id, claimed_at, edited_at, OUTCOMES.get(last_outcome), last_finished_at,
        consecutive_failures, runs, priority, skip_runs, skip_until, resumed_at,
        RESUMES.get(resume_missed), calendars or (), CLOSED[on_closed], min_gap_seconds,
        lost is not None,
    )
    # fmt: on
