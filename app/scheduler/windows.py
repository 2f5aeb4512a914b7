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
"""With more, the windows are asked of every run."""


class Windows:
    """Tells which runs have to be asked for; without windows that costs them nothing.

    What a window makes of a run the database says, by the tags of its job.
    """

    def __init__(self) -> None:
        self.spans: Sequence[Span] = ()
        self.told = asyncio.Event()
        """Set when calendars or windows may have changed, for what follows from that."""
        self.changed = asyncio.Event()
        """The same, for the time of the windows, which is read at once."""
        self.reading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Windows: {len(self.spans)} spans>"

    async def begin(self, db: Runner) -> None:
        """Read the time on a new session, which hears nothing of what was changed before it."""
        await self.read(db)
        self.told.set()

    def tell(self) -> None:
        """Note that calendars or windows may have changed."""
        self.told.set()
        self.changed.set()

    async def read(self, db: Runner) -> None:
        """Read the time of the windows, one read after the other: the last one knows best."""
        async with self.reading:
            spans = await maintenance.read_spans(db)
            self.spans = spans if len(spans) <= MAX_SPANS else [Span(EARLIEST, LATEST)]

    def touch(self, start: datetime, end: datetime) -> bool:
        """Return whether any window has time in [start, end]."""
        found = bisect_right(self.spans, end, key=lambda span: span.start)
        return found > 0 and self.spans[found - 1].end > start


async def keep_windows(db: Database, observers: Observers, windows: Windows) -> None:
    """Read the time of the windows whenever it may have changed; ends only when cancelled.

    Apart from what follows from a change: jobs by the thousand may be replanned for a calendar, and
    a window that begins at once does not wait for them.
    """
    await keep_up(
        lambda: windows.read(db), windows.changed, observers, where="windows", wait=MAX_SECONDS
    )
