"""The time of all windows of maintenance, as an instance knows it."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import EARLIEST, LATEST
from app.db import Database, maintenance
from app.db.database import Runner
from app.scheduler.tasks import MAX_SECONDS, keep_up
from app.telemetry import Observers

MAX_SPANS = 10_000
"""If the windows have more spans, the database is asked of every run."""


class Windows:
    """Tells of which runs the database has to be asked; without windows a run costs nothing more.

    The database says what a window makes of a run, by the tags of its job.
    """

    def __init__(self) -> None:
        self.spans: Sequence[Span] = ()
        self.told = asyncio.Event()
        """Set when calendars or windows may have changed: jobs may have to be replanned."""
        self.changed = asyncio.Event()
        """Set at the same time: the time of the windows is to be read again."""
        self.reading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Windows: {len(self.spans)} spans>"

    async def begin(self, db: Runner) -> None:
        """Read the time on a new session, which was not notified of changes before it began."""
        await self.read(db)
        self.told.set()

    def tell(self) -> None:
        """Note that calendars or windows may have changed."""
        self.told.set()
        self.changed.set()

    async def read(self, db: Runner) -> None:
        """Read the time of the windows, one read after the other: the last one has the newest."""
        async with self.reading:
            spans = await maintenance.read_spans(db)
            self.spans = spans if len(spans) <= MAX_SPANS else [Span(EARLIEST, LATEST)]

    def touch(self, start: datetime, end: datetime) -> bool:
        """Return whether any window has time in [start, end]."""
        found = bisect_right(self.spans, end, key=lambda span: span.start)
        return found > 0 and self.spans[found - 1].end > start


async def keep_windows(db: Database, observers: Observers, windows: Windows) -> None:
    """Read the time of the windows whenever it may have changed; ends only when cancelled.

    Apart from the replanning that follows from a change: a window that begins at once does not wait
    for a calendar by which thousands of jobs are replanned.
    """
    await keep_up(
        lambda: windows.read(db), windows.changed, observers, where="windows", wait=MAX_SECONDS
    )
