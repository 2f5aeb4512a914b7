"""Finds the rows for which a statement about many fails, and runs the statement for the others.

Thus a row that breaks a constraint, or a user's trigger, affects only its own job (docs/adr/0044).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from app.db.connections import AT_ONCE
from app.db.errors import function_of_others, raised_by_others
from app.errors import (
    AppError,
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
"""Of a statement that took too long, so many items are run one by one: each further division would
take as long again."""
MANY = 10
"""If at least this many items fail, and no other succeeds, something else may be at fault."""

MAX_REASON_LENGTH = 300
"""How many characters of a message a reason keeps."""


async def run_by_parts(  # noqa: PLR0913 - one keyword for each way in which callers differ
    run: Callable[[Sequence[ItemT]], Awaitable[None]],
    items: Sequence[ItemT],
    *,
    refused: Callable[[ItemT, Exception], None],
    parts: int = 1,
    blame: bool = False,
    turns: asyncio.Semaphore | None = None,
) -> None:
    """Run a statement for `parts` of the items at once; if it fails for one, for parts of that.

    `refused` is called with each item for which the statement fails even when run for that item
    alone. A statement that Postgres cancelled, as it took too long, counts as failed. `blame`: the
    items are to blame even if that is what became of all of them. `turns`: how many statements may
    run at once, by default `AT_ONCE`.

    Raises:
        Exception: an error that no row can be to blame for.
        StatementCancelled: it took too long for all items, and in no function of a user's.
    """
    turns = turns or asyncio.Semaphore(AT_ONCE)
    size = -(-len(items) // parts) or 1
    some = [items[start : start + size] for start in range(0, len(items), size)]
    errors = await asyncio.gather(*(error_of(run, part, turns) for part in some))
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


async def error_of(
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
    return raised_by_others(error.__cause__ or error)


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
    if isinstance(error, StatementCancelled):
        return f"it takes too long{function_of_others(error)}"
    said = error.message if isinstance(error, asyncpg.PostgresError) else str(error)
    line = " ".join((said or type(error).__name__).replace("\0", "").split())
    return line[:MAX_REASON_LENGTH]
