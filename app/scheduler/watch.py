"""Breaks off statements about many jobs that take too long for one of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from app.core.facts import Faulted
from app.db import Database
from app.db.isolating import interrupt, reason
from app.errors import LockedByOthers, StatementCancelled
from app.telemetry import Observers
from app.timers import Timer, Timers

WRITE_SECONDS = 0.3
"""How long a settlement or an extension of many jobs may take, where users have a trigger or the
like on the tables, or where it waits for a lock. Usually it takes milliseconds."""
MAX_APART = 10_000
"""How many jobs are remembered that are written apart from others."""


class Watch:
    """Has Postgres cancel the statements of one session or pool that take too long.

    Only where users have something on the tables that may take long for one row, or, with `locks`,
    where a statement waits for a lock: a database that is merely slow gets all the time it takes.
    Statements run one at a time. One timer serves many of them: what usually takes milliseconds
    plans and cancels none.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each way in which what is watched differs
        self,
        db: Database,
        observers: Observers,
        *,
        application_name: str,
        timers: Timers,
        seconds: float,
        locks: bool,
    ) -> None:
        self.db = db
        """The pool to cancel from, which is another than the one that is watched."""
        self.observers = observers
        self.application_name = application_name
        """That of the session or pool that is watched."""
        self.timers = timers
        self.seconds = seconds
        """How long a statement may take; cancelled then, and once more after each as long again."""
        self.locks = locks
        self.began_at: float | None = None
        """When the statement under way began, by the timers; None if none is."""
        self.timer: Timer | None = None
        self.interrupting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Watch of {self.application_name!r}: {self.seconds} s for each statement>"

    def __enter__(self) -> None:
        """Watch the statement of the body, which raises `StatementCancelled` if cancelled."""
        self.began_at = self.timers.time()
        if self.timer is None:
            self.set_timer(self.began_at + self.seconds)

    def __exit__(self, *_: object) -> None:
        self.began_at = None

    def set_timer(self, at: float) -> None:
        self.timer = self.timers.call_at(at, self.check)

    def check(self) -> None:
        """Interrupt a statement that takes too long; check one that may yet, later."""
        self.timer = None
        if self.began_at is None:
            return
        now, ends_at = self.timers.time(), self.began_at + self.seconds
        if now >= ends_at:
            if self.interrupting is None or self.interrupting.done():
                self.interrupting = asyncio.create_task(self.interrupt(), name="interrupt")
            ends_at = now + self.seconds
        self.set_timer(ends_at)

    async def interrupt(self) -> None:
        try:
            await interrupt(
                self.db,
                application_name=self.application_name,
                seconds=self.seconds / 2,
                locks=self.locks,
            )
        except Exception as error:  # noqa: BLE001 - the statement ends by itself
            self.observers.tell(Faulted(where="interrupt", error=reason(error)))


class Apart:
    """The jobs that are written apart from others, as a statement failed or took long for them."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, None] = {}
        """A set in the order of arrival."""

    def __repr__(self) -> str:
        return f"<Apart: {len(self.jobs)} jobs>"

    def __contains__(self, job_id: UUID) -> bool:
        return job_id in self.jobs

    def add(self, job_id: UUID) -> None:
        """Write a job apart from now on; with too many the oldest is forgotten."""
        self.jobs[job_id] = None
        if len(self.jobs) > MAX_APART:
            del self.jobs[next(iter(self.jobs))]

    def remove(self, job_id: UUID) -> None:
        """Write a job with others again."""
        self.jobs.pop(job_id, None)


@contextmanager
def waits_count_as_slow() -> Iterator[None]:
    """Take a lock that was waited for too long for a statement that took too long.

    Raises:
        StatementCancelled: the statement waited for a lock; no function counts as its cause.
    """
    try:
        yield
    except LockedByOthers as error:
        raise StatementCancelled(str(error)) from error
