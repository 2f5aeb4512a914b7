"""Finds the rows for which a statement about many fails, and runs the statement for the others.

Thus a row that breaks a constraint, or a user's trigger, affects only its own job (docs/adr/0044).
The statements for single jobs are here as well: those that list due jobs apart from a look, put
jobs aside, and cancel slow statements.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import asyncpg
import stamina
from msgspec import Struct

from app.db.connections import AT_ONCE
from app.db.database import Runner
from app.db.errors import function_of_others, raised_by_others
from app.errors import (
    AppError,
    CancellationCaught,
    DatabaseUnavailable,
    PoolerInTheWay,
    SchemaOutdated,
    StatementCancelled,
)

ItemT = TypeVar("ItemT")

OUTAGES = (DatabaseUnavailable, SchemaOutdated, PoolerInTheWay)
"""Errors that no row is to blame for."""

VALUES = ("22", "23", "54")
"""Classes of SQLSTATE: a value out of range, a broken constraint, more than Postgres can do."""

PARTS = 8
"""Into how many parts `run_by_parts` divides the items of a statement that failed."""
MAX_SINGLES = 64
"""The most items of a statement that took too long which are then run one by one: each further
division would take as long again."""
MANY = 10
"""If at least this many items fail, and no other succeeds, something else may be at fault."""

MAX_REASON_LENGTH = 300
"""How many characters of a message a reason keeps."""


class Due(Struct, frozen=True, kw_only=True):
    """A job that waits to be claimed."""

    job_id: UUID
    due_at: str
    """The instant as Postgres writes it: no `datetime` holds some of those that a row may have."""
    now: datetime
    """When this was read, on the database's clock."""

    @property
    def since(self) -> datetime | None:
        """The instant from which a look finds this job; None if Python cannot hold the instant."""
        try:
            return datetime.fromisoformat(self.due_at)
        except ValueError:
            return None


class Unworkable(Struct, frozen=True, kw_only=True):
    """A job that cannot be planned or executed until a person corrects it."""

    job_id: UUID
    fence: int | None = None
    """The fence of the claim under which the problem was found; None outside a claim."""
    problem: str


async def run_by_parts(  # noqa: PLR0913 - one keyword for each way in which callers differ
    run: Callable[[Sequence[ItemT]], Awaitable[None]],
    items: Sequence[ItemT],
    *,
    refused: Callable[[ItemT, Exception], None],
    parts: int = 1,
    blame: bool = False,
    turns: asyncio.Semaphore | None = None,
) -> None:
    """Run a statement for each of `parts` of the items; where it fails, for parts of that part.

    `refused` is called with each item for which the statement fails even when run for that item
    alone. A statement that Postgres cancelled, as it took too long, counts as failed. `blame`: the
    items are to blame even if the statement took too long for all of them. `turns`: how many
    statements may run at once, by default `AT_ONCE`.

    Raises:
        Exception: an error that no row can be to blame for.
        StatementCancelled: the statement took too long for all items, in no function of a user's.
    """
    turns = turns or asyncio.Semaphore(AT_ONCE)
    size = -(-len(items) // parts) or 1
    some = [items[start : start + size] for start in range(0, len(items), size)]
    errors = await asyncio.gather(*(run_in_turn(run, part, turns) for part in some))
    for error in errors:
        if error is not None and not may_be_about_a_row(error):
            raise error
    slow = [error for error in errors if isinstance(error, StatementCancelled)]
    decided = len(some) > 1 or len(items) == 1
    if len(slow) == len(some) and decided and not blame and not any(map(is_by_others, slow)):
        raise slow[0]
    again = []
    for part, error in zip(some, errors, strict=True):
        if error is not None and len(part) == 1:
            refused(part[0], error)
        elif error is not None:
            many = parts_after(error, part)
            again.append(
                run_by_parts(
                    run, part, refused=refused, parts=many, blame=blame or decided, turns=turns
                )
            )
    for result in await asyncio.gather(*again, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def parts_after(error: Exception, items: Sequence[object]) -> int:
    """Return into how many parts to divide items for which a statement failed."""
    singly = isinstance(error, StatementCancelled) and len(items) <= MAX_SINGLES
    return len(items) if singly else PARTS


async def run_in_turn(
    run: Callable[[Sequence[ItemT]], Awaitable[None]],
    items: Sequence[ItemT],
    turns: asyncio.Semaphore,
) -> Exception | None:
    """Run a statement in its turn; return the error, None if there was none."""
    try:
        async with turns:
            await run(items)
    except Exception as error:  # noqa: BLE001 - returned
        return error
    return None


def may_be_about_a_row(error: Exception) -> bool:
    """Return whether the content of one row can have made a statement fail, or take too long."""
    return is_about_a_row(error) or isinstance(error, StatementCancelled)


def is_by_others(error: Exception) -> bool:
    """Return whether a user's function was running when a statement failed or took too long."""
    return isinstance(error, CancellationCaught) or raised_by_others(error.__cause__ or error)


def is_outage(error: Exception) -> bool:
    """Return whether the database is away, rather than too slow for one statement."""
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, StatementCancelled)


patiently = stamina.AsyncRetryingCaller(
    attempts=None, timeout=None, wait_initial=0.05, wait_max=1.0, wait_jitter=0.1
).on(is_outage)
"""Calls a coroutine function again and again while the database is away, at most 1 s apart."""


def may_have_succeeded(error: Exception) -> bool:
    """Return whether only the answer to a statement could not be read here."""
    return not isinstance(error, asyncpg.PostgresError | AppError)


def is_about_a_row(error: Exception) -> bool:
    """Return whether the content of one row can have made a statement about many rows fail.

    Such errors are a value that cannot be cast or read, an overflow, a broken constraint, or a
    user's trigger that raises. An outage is none, nor a right missing for the statement itself.
    """
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return raised_by_others(error)
    return not isinstance(error, OUTAGES)


def is_certain(error: Exception) -> bool:
    """Return whether the row is to blame, rather than a trigger that may raise for every row."""
    return not isinstance(error, asyncpg.PostgresError) or error.sqlstate[:2] in VALUES


def reason(error: Exception) -> str:
    """Return an error's message in one short line, without Postgres's detail, which has the row."""
    if isinstance(error, CancellationCaught):
        return "it takes too long, and a trigger catches query_canceled"
    if isinstance(error, StatementCancelled):
        return f"it takes too long{function_of_others(error)}"
    said = error.message if isinstance(error, asyncpg.PostgresError) else str(error)
    line = " ".join((said or type(error).__name__).replace("\0", "").split())
    return line[:MAX_REASON_LENGTH]


async def list_due(  # noqa: PLR0913 - as many as a look that finds them has
    db: Runner,
    *,
    limit: int,
    ahead_seconds: float,
    kinds: Sequence[str],
    since: datetime | None,
    believed: datetime | None,
    aside: Sequence[UUID],
) -> list[Due]:
    """List the jobs that a look with these arguments would claim, in its order."""
    rows = await db.fetch(
        "isolating.due",
        limit=limit,
        ahead_seconds=ahead_seconds,
        kinds=kinds,
        since=since,
        believed=believed,
        aside=aside,
    )
    return [Due(**row) for row in rows]


async def list_due_raised(
    db: Runner,
    *,
    limit: int,
    kinds: Sequence[str],
    believed: datetime | None,
    aside: Sequence[UUID],
) -> list[Due]:
    """List the due jobs of a raised priority, in the order of a look by priority."""
    rows = await db.fetch(
        "isolating.due_raised", limit=limit, kinds=kinds, believed=believed, aside=aside
    )
    return [Due(**row) for row in rows]


async def list_due_behind(  # noqa: PLR0913 - one keyword for each parameter of the query
    db: Runner,
    *,
    limit: int,
    kinds: Sequence[str],
    since: datetime | None,
    until: datetime,
    before: Due | None,
    newer: str | None,
    aside: Sequence[UUID],
) -> list[Due]:
    """List jobs that are due, latest first.

    - `before`: only those that come before this one in the order of looks.
    - `newer`: only those whose rows were written since this `read_horizon`.
    """
    rows = await db.fetch(
        "isolating.due_behind",
        limit=limit,
        kinds=kinds,
        since=since,
        until=until,
        before=None if before is None else before.job_id,
        before_at=None if before is None else before.due_at,
        newer=newer,
        aside=aside,
    )
    return [Due(**row) for row in rows]


async def list_due_of_others(  # noqa: PLR0913 - one keyword for each parameter of the query
    db: Runner,
    *,
    crowds: Collection[str],
    window: int,
    limit: int,
    kinds: Sequence[str],
    since: datetime | None,
    until: datetime,
    aside: Sequence[UUID],
) -> tuple[list[Due], bool]:
    """List due jobs of which the URL is for none of these hosts, the earliest first.

    Only the latest `window` of the jobs are searched that came due from `since` on (None: at any
    time), and long targets are passed over. Return as well whether a claim of them may have
    something deferred, as by a trigger of users.
    """
    rows = await db.fetch(
        "isolating.due_of_others",
        crowds=list(crowds),
        window=window,
        limit=limit,
        kinds=kinds,
        since=since,
        until=until,
        aside=aside,
    )
    found = [Due(job_id=row["job_id"], due_at=row["due_at"], now=row["now"]) for row in rows]
    return found, any(row["deferring"] for row in rows)


async def list_due_among(db: Runner, ids: Sequence[UUID], *, kinds: Sequence[str]) -> list[Due]:
    """List which of these jobs wait to be claimed, in the order of looks."""
    return [Due(**row) for row in await db.fetch("isolating.due_among", ids=ids, kinds=kinds)]


async def read_horizon(db: Runner) -> str:
    """Return the transaction before which all has been written that is visible now."""
    [row] = await db.fetch("isolating.horizon")
    horizon: str = row["horizon"]
    return horizon


async def put_aside(db: Runner, jobs: Sequence[Unworkable]) -> set[UUID]:
    """Give the jobs a `plan_error` and end their claims; return the ids of those that changed."""
    rows = await db.fetch(
        "isolating.put_aside",
        job_ids=[one.job_id for one in jobs],
        fences=[one.fence for one in jobs],
        problems=[one.problem for one in jobs],
    )
    return {row["id"] for row in rows}


async def interrupt(
    db: Runner, *, application_name: str, seconds: float, locks: bool = False
) -> bool:
    """Cancel statements that sessions of this name have been running for `seconds` or longer.

    Return whether there was one.

    Statements are cancelled only if users have something on the jobs or the executions that may
    take long for one row; with `locks`, those that wait for a lock are cancelled in any case.
    """
    rows = await db.fetch(
        "isolating.interrupt", application_name=application_name, seconds=seconds, locks=locks
    )
    return bool(rows)


async def end(db: Runner, *, application_name: str, seconds: float) -> bool:
    """End sessions of this name whose statement goes on after `seconds`, although cancelled.

    Return whether there was one.
    """
    return bool(await db.fetch("isolating.end", application_name=application_name, seconds=seconds))
