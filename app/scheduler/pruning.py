"""Deletes what is old, a little at a time, with pauses half as long as the work."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

from msgspec import Struct

from app.db import upkeep
from app.db.upkeep import UpkeepSession
from app.errors import AppError
from app.timers import Monotonic

KeyT = TypeVar("KeyT")

STEP_SECONDS = 0.05
"""How long one step is to take: the next one gets fewer pages, or more, accordingly."""
MAX_PAGES = 512
"""The most pages of one step: 4 MB."""
MIN_PAGES = 16
"""The least pages of one step, which are read in a millisecond: if a step takes longer, then for
the load of the machine, and smaller ones would take about as long each. After an error, a step may
have one page until steps are quick again, as a user's trigger may take long for each row."""
MAX_ENTRIES = 1000
"""The most entries of the audit log, or alerts, of one step."""
PAUSE = 0.5
"""How long a pause is, as a part of the time that the step before it took."""
MIN_PAUSE_SECONDS = 0.01
"""The shortest pause."""


class Left(Struct, frozen=True, kw_only=True):
    """How many rows could not be deleted, and the error of the last of them."""

    rows: int
    reason: str = ""


NONE_LEFT = Left(rows=0)


async def prune_pages(
    session: UpkeepSession, name: str, *, of: str, before: datetime, clock: Monotonic
) -> tuple[int, Left]:
    """Walk once through the pages of a table; return how many rows were deleted, and what is left.

    A row that cannot be deleted is passed over: its page is gone through row by row, and then the
    walk goes on behind the page. A page that takes too long even alone counts as one such row.

    Raises:
        AppError: the session was lost.
    """
    deleted, refused, reason = 0, 0, ""
    total = await upkeep.count_pages(session, of)
    first, pages, least = 0, MIN_PAGES, MIN_PAGES
    while first < total:
        began = clock()
        try:
            step = await upkeep.prune_pages(
                session, name, first_page=first, pages=pages, keep_from=before
            )
        except AppError as error:
            if session.is_lost:
                raise
            if pages == 1:
                refused, reason = refused + 1, str(error)
                first += 1
            pages = least = 1
        else:
            deleted += step.rows
            refused += step.refused
            reason = step.refusal or reason
            first += pages
            took = clock() - began
            if took < STEP_SECONDS / 2:
                least = MIN_PAGES
            pages = following(pages, took=took, least=least)
        await asyncio.sleep(max(PAUSE * (clock() - began), MIN_PAUSE_SECONDS))
    return deleted, Left(rows=refused, reason=reason)


def following(pages: int, *, took: float, least: int) -> int:
    """Return how many pages, `least` or more, the step gets after one that took so many seconds."""
    if took > STEP_SECONDS:
        return max(pages // 2, least)
    return max(min(pages * 2, MAX_PAGES) if took < STEP_SECONDS / 2 else pages, least)


async def prune_log(session: UpkeepSession, *, before: datetime, clock: Monotonic) -> None:
    """Delete the entries of the audit log that are older than `before`, the oldest first.

    Raises:
        AppError: Postgres refused, or the session was lost.
    """
    step = partial(upkeep.prune_audit_log, session, most=MAX_ENTRIES, keep_from=before)
    await walk(lambda after: step(after_id=after), 0, clock=clock)


async def prune_alerts(session: UpkeepSession, *, before: datetime, clock: Monotonic) -> None:
    """Delete the alerts that were told before `before`, the oldest first, but for what goes on.

    Raises:
        AppError: Postgres refused, or the session was lost.
    """
    step = partial(upkeep.prune_alerts, session, most=MAX_ENTRIES, keep_from=before)
    await walk(lambda after: step(after=after), upkeep.BEFORE_ALL, clock=clock)


async def walk(
    step: Callable[[KeyT], Awaitable[KeyT | None]], first: KeyT, *, clock: Monotonic
) -> None:
    """Take steps from a key on, each of which returns where the next one begins, until None."""
    key: KeyT | None = first
    while key is not None:
        began = clock()
        key = await step(key)
        await asyncio.sleep(max(PAUSE * (clock() - began), MIN_PAUSE_SECONDS))
