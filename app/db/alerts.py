"""What alerts are told of, how rules stand, and deliveries, in Postgres."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.alerts.rules import NO_JOB, Event, Happened, Key, Rule, State, Told
from app.core.runs.outcome import Outcome
from app.db.database import Database, Row, Runner

JSON = msgspec.json.Encoder()
Place = tuple[UUID, str, UUID]
"""The key of a state, or any place in the order of keys."""
FIRST: Place = (UUID(int=0), "", NO_JOB)
"""Before all states."""
LAST: Place = (UUID(int=2**128 - 1), "", NO_JOB)
"""Behind all states."""
LIMIT_SECONDS = 10.0
"""How long a statement of a pass may take."""


class Work(Struct, frozen=True, kw_only=True):
    """What there is to do for alerts."""

    has_rules: bool
    has_open: bool
    """Whether alerts are to be delivered, or their deliveries under way."""
    now: datetime
    """What the database's clock shows."""


class Cursor(Struct, frozen=True, kw_only=True):
    """How far executions are judged; see `tocsin.alert_cursor`."""

    after_id: int
    pending: Sequence[int]
    mark_id: int | None
    marked_at: datetime | None
    is_over: bool
    """Whether all executions up to `mark_id` have ended, are under way, or will not be."""
    latest_id: int
    now: datetime

    @property
    def upto(self) -> int:
        """The last execution that can be judged now, or is under way."""
        return self.after_id if self.mark_id is None or not self.is_over else self.mark_id


class Batch(Struct, frozen=True, kw_only=True):
    """Some executions that did not succeed."""

    happened: Sequence[Happened]
    read_to: int
    """All of them up to this one were read, but for those under way."""
    is_whole: bool
    """Whether that is as far as can be read now."""
    under_way: Sequence[int]


class Newly(Struct, frozen=True, kw_only=True):
    """A job that stands as a rule watches for, which does not know yet."""

    rule_id: UUID
    event: Event
    job_id: UUID
    job: str | None
    tags: Sequence[str]
    why: str


class OfRule(Struct, frozen=True, kw_only=True):
    """How a rule stands for what is about no single job."""

    rule_id: UUID
    event: Event
    why: str | None
    """Why it tells of it now; None: it does not."""
    state: State | None


class Reminder(Struct, frozen=True, kw_only=True):
    """A state that is to be told again."""

    state: State
    job: str | None
    why: str


class Over(Struct, frozen=True, kw_only=True):
    """A state whose job is well again, or gone."""

    state: State
    job: str | None
    is_gone: bool


async def read_work(db: Runner) -> Work:
    """Return what there is to do."""
    [row] = await db.fetch("alerts.has_work")
    return Work(**row)


@asynccontextmanager
async def turn(
    db: Database, *, limit_seconds: float = LIMIT_SECONDS
) -> AsyncIterator[tuple[Runner, Cursor | None]]:
    """Open the transaction of one pass over what has happened; an error undoes the pass.

    `limit_seconds`: how long each of its statements may take.

    The cursor is None if another instance is at it.
    """
    async with db.transaction() as transaction:
        rows = await transaction.fetch("alerts.begin", limit=f"{limit_seconds * 1000:.0f}ms")
        yield transaction, Cursor(**rows[0]) if rows else None


async def move(
    transaction: Runner, cursor: Cursor, *, after_id: int, pending: Sequence[int]
) -> None:
    """Move the cursor on, and set the next mark if the last one is over, or there is none."""
    await transaction.fetch(
        "alerts.move",
        after_id=after_id,
        pending=pending,
        is_over=cursor.mark_id is None or (cursor.is_over and after_id >= cursor.upto),
        mark_id=cursor.latest_id,
        marked_at=cursor.now,
    )


async def list_rules(db: Runner) -> list[Rule]:
    """List all rules."""
    return [
        Rule(
            **{
                **row,
                "events": frozenset(map(Event, row["events"])),
                "reasons": row["reasons"] and frozenset(row["reasons"]),
            }
        )
        for row in await db.fetch("alerts.rules")
    ]


async def read_happened(db: Runner, cursor: Cursor, *, limit: int) -> Batch:
    """Read up to `limit` executions behind the cursor, and those that were under way before."""
    rows = await db.fetch(
        "alerts.happened",
        after_id=cursor.after_id,
        upto=cursor.upto,
        pending=cursor.pending,
        limit=limit,
    )
    [told, *found] = rows
    ranged = [row["id"] for row in found if cursor.after_id < row["id"] <= cursor.upto]
    is_whole = len(ranged) < limit
    return Batch(
        happened=[happened(row) for row in found if not row["is_silent"]],
        read_to=cursor.upto if is_whole else max(ranged),
        is_whole=is_whole,
        under_way=told["under_way"],
    )


async def read_slow(db: Runner, cursor: Cursor, *, seconds: float, limit: int) -> Batch:
    """Read up to `limit` executions behind the cursor that took longer, and succeeded."""
    [reached, *found] = await db.fetch(
        "alerts.took_long",
        after_id=cursor.after_id,
        upto=cursor.upto,
        pending=cursor.pending,
        seconds=seconds,
        limit=limit,
    )
    ranged = [row["id"] for row in found if row["id"] > cursor.after_id]
    read_to = max(ranged) if len(ranged) >= limit else reached["reached"]
    return Batch(
        happened=[took_long(row) for row in found if not row["is_silent"]],
        read_to=read_to,
        is_whole=read_to >= cursor.upto,
        under_way=reached["under_way"],
    )


async def list_running(
    db: Runner, *, rule_ids: Sequence[UUID], seconds: float, after: int, limit: int
) -> list[Happened]:
    """List executions under way for longer that some rules on slow ones have yet to count.

    At most `limit` of them, in the order of their ids, from the first one behind `after`.
    """
    rows = await db.fetch(
        "alerts.running", rule_ids=rule_ids, seconds=seconds, after=after, limit=limit
    )
    return [took_long(row, "it has been under way for") for row in rows]


def took_long(row: Row, said: str = "it took") -> Happened:
    """Read an execution that succeeded, or is under way, out of a row."""
    usual = "" if row["usual"] is None else f", and usually takes {row['usual']:.3g} s"
    return Happened(
        id=row["id"],
        job_id=row["job_id"],
        job=row["job"],
        tags=row["tags"],
        outcome=Outcome.SUCCEEDED,
        reason=None,
        at=row["finished_at"],
        why=f"{said} {row['seconds']:.4g} s{usual}",
        is_given_up=False,
        is_last_attempt=False,
        before=None,
        seconds=row["seconds"],
        usual=row["usual"],
        well_id=row["well_id"],
    )


def happened(row: Row) -> Happened:
    """Read an execution out of a row."""
    return Happened(
        id=row["id"],
        job_id=row["job_id"],
        job=row["job"],
        tags=row["tags"],
        outcome=Outcome(row["outcome"]),
        reason=row["reason"],
        at=row["finished_at"],
        why=reason_of(row),
        is_given_up=row["is_given_up"],
        is_last_attempt=(row["attempt"] or 0) >= (row["max_attempts"] or 1),
        before=row["before"] and Outcome(row["before"]),
    )


def reason_of(row: Row) -> str:
    """Say why an execution did not succeed."""
    said: str = row["error"] or row["reason"] or row["outcome"]
    if (row["missed_runs"] or 0) > 1:
        return (
            f"{row['missed_runs']} runs from {row['scheduled_for']:%Y-%m-%d %H:%M:%S} UTC: {said}"
        )
    return said


async def read_states(db: Runner, job_ids: Sequence[UUID]) -> list[State]:
    """Return how rules stand for some jobs."""
    rows = await db.fetch("alerts.states", job_ids=job_ids) if job_ids else []
    return [state(row) for row in rows]


def state(row: Row | dict[str, Any]) -> State:
    """Read a state out of a row."""
    columns = {name: row[name] for name in State.__struct_fields__}
    return State(**columns | {"event": Event(row["event"])})


async def list_newly(db: Runner, *, rule_ids: Sequence[UUID], limit: int) -> list[Newly]:
    """List jobs that have come to stand as these rules watch for."""
    rows = await db.fetch("alerts.newly", rule_ids=rule_ids, limit=limit)
    return [Newly(**row | {"event": Event(row["event"])}) for row in map(dict, rows)]


async def list_of_rules(db: Runner, *, rule_ids: Sequence[UUID]) -> list[OfRule]:
    """List how these rules stand for what is about no single job."""
    return [
        OfRule(
            rule_id=row["rule_id"],
            event=Event(row["event"]),
            why=row["why"],
            state=None if row["since"] is None else state(dict(row) | {"job_id": NO_JOB}),
        )
        for row in await db.fetch("alerts.of_rules", rule_ids=rule_ids)
    ]


async def list_reminders(
    db: Runner, *, rule_ids: Sequence[UUID], seconds: float, limit: int
) -> list[Reminder]:
    """List what these rules are to remind of; `seconds`: what goes out as one message."""
    rows = await db.fetch("alerts.reminders", rule_ids=rule_ids, seconds=seconds, limit=limit)
    return [Reminder(state=state(row), job=row["job"], why=row["why"]) for row in rows]


async def find_over_until(db: Runner, *, after: Place, limit: int) -> Place | None:
    """Return the last of the `limit` states after a place; None if there are fewer."""
    rule_id, event, job_id = after
    rows = await db.fetch(
        "alerts.over_until", rule_id=rule_id, event=event, job_id=job_id, limit=limit
    )
    return (rows[0]["rule_id"], rows[0]["event"], rows[0]["job_id"]) if rows else None


async def list_over(db: Runner, *, after: Place, upto: Place, horizon: datetime) -> list[Over]:
    """List the states after one place and up to another that are over, by what had ended then."""
    names = ("rule_id", "event", "job_id")
    places = dict(zip(names, after, strict=True)) | {
        f"to_{name}": value for name, value in zip(names, upto, strict=True)
    }
    return [
        Over(state=state(row), job=row["job"], is_gone=row["is_gone"])
        for row in await db.fetch("alerts.over", horizon=horizon, **places)
    ]


async def write(
    transaction: Runner,
    *,
    written: Sequence[State],
    removed: Sequence[Key],
    told: Sequence[tuple[Told, Sequence[str | None]]],
) -> None:
    """Write how rules stand now, and what they tell by which channels (None: on record only)."""
    if written:
        await transaction.fetch("alerts.write_states", states=JSON.encode(written).decode())
    if removed:
        keys = [{"rule_id": rule, "event": event, "job_id": job} for rule, event, job in removed]
        await transaction.fetch("alerts.delete_states", states=JSON.encode(keys).decode())
    alerts = [
        msgspec.to_builtins(one) | {"channel": channel}
        for one, channels in told
        for channel in channels
    ]
    if alerts:
        await transaction.fetch(
            "alerts.tell", alerts=JSON.encode(alerts).decode().replace("\\u0000", "")
        )


@asynccontextmanager
async def by_index(db: Database) -> AsyncIterator[Runner]:
    """Open a transaction whose statements go by indexes, whatever statistics say of the tables."""
    async with db.transaction() as transaction:
        await transaction.fetch("alerts.by_index")
        yield transaction
