"""Finds the row for which a statement about many rows fails, and runs the statement for the others.

Thus a row that breaks a constraint, or a user's trigger, affects only its own job (docs/adr/0044).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from app.db.errors import raised_by_others
from app.errors import DatabaseUnavailable, PoolerInTheWay, SchemaOutdated

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

OUTAGES = (DatabaseUnavailable, SchemaOutdated, PoolerInTheWay)
"""Errors that no row is to blame for."""

VALUES = ("22", "23", "54")
"""Classes of SQLSTATE: a value out of range, a broken constraint, more than Postgres can do."""

MAX_REASON_LENGTH = 300
"""How many characters of a message a reason keeps."""


async def run_by_halves(
    run: Callable[[Sequence[ItemT]], Awaitable[ResultT]],
    items: Sequence[ItemT],
    *,
    refused: Callable[[ItemT, Exception], None],
) -> list[ResultT]:
    """Run a statement for all items; if it fails, for each half of them, and so on.

    One bad item among `n` costs about `2 * log2(n)` statements. `refused` is called with each item
    for which the statement fails even when run for that item alone.

    Raises:
        Exception: an error for which `is_about_a_row` is false.
    """
    if not items:
        return []
    try:
        return [await run(items)]
    except Exception as error:
        if not is_about_a_row(error):
            raise
        if len(items) == 1:
            refused(items[0], error)
            return []
    middle = len(items) // 2
    return [
        *await run_by_halves(run, items[:middle], refused=refused),
        *await run_by_halves(run, items[middle:], refused=refused),
    ]


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
    said = error.message if isinstance(error, asyncpg.PostgresError) else str(error)
    line = " ".join((said or type(error).__name__).replace("\0", "").split())
    return line[:MAX_REASON_LENGTH]
