"""Executions as they are recorded, for the stream of events."""

from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct

from app.core.runs.outcome import Outcome
from app.db.database import Row, Runner
from app.wire.events import ExecutionEvent

MAX_AT_ONCE = 500
"""Executions that one look tells of; with more, streams begin anew."""
WINDOW = 20_000
"""How many numbers before its place a stream that comes back looks for late ones."""


class Look(Struct, frozen=True, kw_only=True):
    """What a look has found."""

    upto: int
    """The last number that was drawn."""
    under_way: Sequence[int]
    """The numbers of executions that are under way."""
    events: list[ExecutionEvent]


async def place(db: Runner) -> int:
    """Return the last number that was drawn for an execution."""
    [row] = await db.fetch("events.place")
    upto: int = row["upto"]
    return upto


async def look(db: Runner, *, after: int, unended: Collection[int], told: Collection[int]) -> Look:
    """Read what was recorded since the last look.

    `unended`: numbers up to `after` that were under way then; `told`: what is not to be told again.
    """
    rows = await db.fetch(
        "events.after", after=after, unended=[*unended], told=[*told], limit=MAX_AT_ONCE + 1
    )
    return Look(
        upto=rows[0]["upto"],
        under_way=rows[0]["under_way"],
        events=[event(row) for row in rows if row["id"] is not None],
    )


async def list_since(db: Runner, *, after: int, since: datetime) -> list[ExecutionEvent]:
    """List what lies beyond a number, and what ended since an instant not far before it."""
    rows = await db.fetch(
        "events.missed_since", after=after, since=since, window=WINDOW, limit=MAX_AT_ONCE + 1
    )
    return [event(row) for row in rows]


def event(row: Row) -> ExecutionEvent:
    """Read an event out of a row."""
    columns = {name: row[name] for name in ExecutionEvent.__struct_fields__}
    return ExecutionEvent(**{**columns, "outcome": Outcome(row["outcome"])})
