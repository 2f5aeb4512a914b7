"""Cancels statements for many jobs that take too long, as a user's trigger may for one of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from app.core.facts import Faulted
from app.db import Database
from app.db.database import CAUGHT_SECONDS
from app.db.isolating import end, interrupt, reason
from app.errors import CancellationCaught, DatabaseUnavailable, LockedByOthers, StatementCancelled
from app.telemetry import Observers
from app.timers import Timer, Timers

WRITE_SECONDS = 0.2
"""How long a statement that settles or extends many claims may take if users have a trigger or the
like on the tables, or if it waits for a lock. Usually such a statement takes milliseconds."""
MAX_APART = 10_000
"""How many jobs are remembered that are written apart from others."""


class Watch:
    """Has Postgres cancel the statements of one session or pool that take too long.

    A statement is cancelled only if users have something on the tables that may take long for one
    row or, with `locks`, if the statement waits for a lock: no job is to blame for a slow database.
    Statements run one at a time. One timer serves many of them, so that a quick statement neither
    sets nor cancels one.
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
        """The pool from which statements are cancelled: another one than the watched."""
        self.observers = observers
        self.application_name = application_name
        """The `application_name` of the session or pool that is watched."""
        self.timers = timers
        self.seconds = seconds
        """How long a statement may take; one that goes on is cancelled again after as long."""
        self.locks = locks
        self.began_at: float | None = None
        """When the statement under way began, by the timers; None without one."""
        self.timer: Timer | None = None
        self.interrupting: asyncio.Task[None] | None = None
        self.cancelled_at: float | None = None
        """`began_at` of the statement that was cancelled last."""
        self.ended_at: float | None = None
        """`began_at` of the statement whose session was ended, as it went on all the same."""

    def __repr__(self) -> str:
        return f"<Watch of {self.application_name!r}: {self.seconds} s for each statement>"

    def __enter__(self) -> None:
        """Watch the statement of the body, which raises `StatementCancelled` if cancelled.

        Leaving raises `CancellationCaught` if the session had to be ended.
        """
        self.began_at = self.timers.time()
        if self.timer is None:
            self.set_timer(self.began_at + self.seconds)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        began_at, self.began_at = self.began_at, None
        if isinstance(error, DatabaseUnavailable) and began_at == self.ended_at:
            message = "a function of users caught the cancellation of a statement"
            raise CancellationCaught(message) from error

    def set_timer(self, at: float) -> None:
        self.timer = self.timers.call_at(at, self.check)

    def check(self) -> None:
        """Cancel a statement that takes too long; set the timer for one that may yet."""
        self.timer = None
        if self.began_at is None:
            return
        now, ends_at = self.timers.time(), self.began_at + self.seconds
        if now >= ends_at:
            if self.interrupting is None or self.interrupting.done():
                self.interrupting = asyncio.create_task(
                    self.interrupt(self.began_at), name="interrupt"
                )
            ends_at = now + min(self.seconds, CAUGHT_SECONDS)
        self.set_timer(ends_at)

    async def interrupt(self, began_at: float) -> None:
        """Cancel the statement that began then; if that was done before, end its session."""
        name, seconds = self.application_name, self.seconds / 2
        try:
            if self.cancelled_at == began_at:
                self.ended_at = began_at  # its failure may be known before the answer
                if not await end(self.db, application_name=name, seconds=seconds):
                    self.ended_at = None
            elif await interrupt(self.db, application_name=name, seconds=seconds, locks=self.locks):
                self.cancelled_at = began_at
        except Exception as error:  # noqa: BLE001 - the statement ends by itself
            self.observers.tell(Faulted(where="interrupt", error=reason(error)))


class Apart:
    """The jobs that get statements of their own, as one for many failed or took long for them."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, None] = {}
        """A set in the order of arrival."""

    def __repr__(self) -> str:
        return f"<Apart: {len(self.jobs)} jobs>"

    def __bool__(self) -> bool:
        return bool(self.jobs)

    def __contains__(self, job_id: UUID) -> bool:
        return job_id in self.jobs

    def add(self, job_id: UUID) -> None:
        """Add a job; with over `MAX_APART` the one added first is forgotten."""
        self.jobs[job_id] = None
        if len(self.jobs) > MAX_APART:
            del self.jobs[next(iter(self.jobs))]

    def remove(self, job_id: UUID) -> None:
        """Remove a job, so that it shares statements again."""
        self.jobs.pop(job_id, None)


@contextmanager
def waits_count_as_slow() -> Iterator[None]:
    """Within this context, raise a wait for a lock as a statement that took too long.

    Raises:
        StatementCancelled: the statement waited for a lock; no function counts as its cause.
    """
    try:
        yield
    except LockedByOthers as error:
        raise StatementCancelled(str(error)) from error
