"""The time of all windows of maintenance, as an instance knows it."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import EARLIEST, LATEST
from app.db import maintenance
from app.db.database import Runner

MOST_SPANS = 10_000
"""With more, the windows are asked of every run."""


class Windows:
    """Tells which runs have to be asked for; without windows that costs them nothing.

    What a window makes of a run the database says, by the tags of its job.
    """

    def __init__(self) -> None:
        self.spans: Sequence[Span] = ()
        self.told = asyncio.Event()
        """Set when calendars or windows may have changed."""

    def __repr__(self) -> str:
        return f"<Windows: {len(self.spans)} spans>"

    async def begin(self, db: Runner) -> None:
        """Read the time on a new session, which hears nothing of what was changed before it."""
        await self.read(db)
        self.told.set()

    async def read(self, db: Runner) -> None:
        """Read the time of the windows."""
        spans = await maintenance.read_spans(db)
        self.spans = spans if len(spans) <= MOST_SPANS else [Span(EARLIEST, LATEST)]

    def touch(self, start: datetime, end: datetime) -> bool:
        """Return whether any window has time in [start, end]."""
        found = bisect_right(self.spans, end, key=lambda span: span.start)
        return found > 0 and self.spans[found - 1].end > start
