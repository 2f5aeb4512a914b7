"""Goes on with the rest where a statement about many rows fails for what is in one of them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from app.db.errors import raised_by_others
from app.errors import DatabaseUnavailable, PoolerInTheWay, SchemaOutdated

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

OUTAGES = (DatabaseUnavailable, SchemaOutdated, PoolerInTheWay)
"""Failures that no row is to blame for."""

VALUES = ("22", "23", "54")
"""Classes of SQLSTATE: a value out of range, a broken constraint, more than Postgres can do."""

MAX_REASON_LENGTH = 300
"""Characters."""


async def by_halves(
    run: Callable[[Sequence[ItemT]], Awaitable[ResultT]],
    items: Sequence[ItemT],
    *,
    refused: Callable[[ItemT, Exception], None],
) -> list[ResultT]:
    """Run a statement for all the items; where it fails, for each half of them, and so on.

    One item at fault among `n` costs about `2 * log2(n)` statements. `refused` is called with each
    item for which alone the statement fails.

    Raises:
        Exception: what `is_about_a_row` denies.
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
        *await by_halves(run, items[:middle], refused=refused),
        *await by_halves(run, items[middle:], refused=refused),
    ]


def is_about_a_row(error: Exception) -> bool:
    """Whether a statement about many rows failed for what is in one of them.

    That is: a value that cannot be cast or read, an overflow, a constraint, a trigger of somebody's
    that raises. Neither an outage is, nor a right that we lack for the statement itself.
    """
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return raised_by_others(error)
    return not isinstance(error, OUTAGES)


def is_certain(error: Exception) -> bool:
    """Whether the row is to blame rather than a trigger, which may raise for every row."""
    return not isinstance(error, asyncpg.PostgresError) or error.sqlstate[:2] in VALUES


def reason(error: Exception) -> str:
    """Say what was wrong in one short line; without the row, which Postgres adds as a detail."""
    said = error.message if isinstance(error, asyncpg.PostgresError) else str(error)
    line = " ".join((said or type(error).__name__).replace("\0", "").split())
    return line[:MAX_REASON_LENGTH]
