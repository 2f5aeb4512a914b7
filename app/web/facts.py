"""What pages show of the database, in parts: each is read by itself and kept for all who look.

A part that takes long, or cannot be read, keeps no other one back: it is waited for briefly, and
shows what it was. One that takes long is read less often, so that it costs the database no more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Generic, TypeVar

from msgspec import Struct

from app.api.problems import unavailable
from app.errors import AppError, DatabaseUnavailable, StatementCancelled
from app.timers import Monotonic

T = TypeVar("T")

PATIENCE_SECONDS = 0.5
"""How long a page waits for its parts."""
REST = 10
"""A part rests for so many times the seconds that it took: it keeps a tenth of one connection busy,
at most."""
AFTER_FAILURE_SECONDS = 2.0
"""How long a part rests at least after it could not be read."""
MAX_REST_SECONDS = 30.0
LEFT_BEHIND = 4
"""A part is read at once, and not in its turn, if it is so many times as old as it may be."""


class Seen(Struct, Generic[T], frozen=True, kw_only=True):
    """A part as a page shows it."""

    value: T | None
    """None: it was never read."""
    at: datetime | None
    """When it was read, by this host's clock."""
    trouble: str = ""
    """Why it is not newer; empty if it is as new as it may be."""


class Fact(Generic[T]):
    """A part of what pages show, read when somebody looks and `seconds` have passed."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        *,
        seconds: float,
        patience: float = PATIENCE_SECONDS,
        clock: Monotonic = monotonic,
    ) -> None:
        self.read = read
        self.seconds = seconds
        self.patience = patience
        self.clock = clock
        self.value: T | None = None
        self.read_at: datetime | None = None
        self.began = self.tried = self.due = float("-inf")
        """When the last reading that succeeded began, the last of all, and when the next may."""
        self.error: AppError | None = None
        """Why the last reading failed."""
        self.reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Fact: read at {self.read_at}, for {self.seconds} s>"

    @property
    def age(self) -> float:
        """The age of the part in multiples of `seconds`, the oldest that it may be."""
        return (self.clock() - self.began) / self.seconds

    @property
    def waited(self) -> float:
        """The time since a reading was last tried, in multiples of `seconds`."""
        return (self.clock() - self.tried) / self.seconds

    def is_due(self) -> bool:
        """Return whether the part is to be read, and is not being read."""
        return self.reading is None and self.clock() >= self.due

    async def see(self, *, stale: float = 0.0) -> Seen[T]:
        """Return the part, read anew if a reading is due.

        The reading is waited for, if the last one began `stale` seconds ago or earlier, for
        `patience` seconds at most; after that the part is returned as it was.
        """
        if self.is_due():
            self.reading = asyncio.create_task(self.renew(), name="part of a page")
        if self.reading and self.clock() - self.began >= stale:
            reading = self.reading
            await asyncio.wait({reading}, timeout=self.patience)
            if reading.done() and not reading.cancelled():  # as by `end`, when others look no more
                reading.result()  # raises a bug
        return self.shown()

    def shown(self) -> Seen[T]:
        """Return the part as it was last read."""
        return Seen(value=self.value, at=self.read_at, trouble=self.trouble)

    @property
    def trouble(self) -> str:
        """Why the part is not as new as it may be; empty if it is."""
        match self.error:
            case None if self.value is None and self.read_at is None:
                return "This is still being read."
            case None:
                is_late = self.reading is not None and self.age > LEFT_BEHIND
                return "To read this anew takes long." if is_late else ""
            case _:
                return told(self.error, then="it is tried again soon")

    async def renew(self) -> None:
        """Read the part, and plan when it may be read again."""
        began = self.tried = self.clock()
        least = self.seconds
        try:
            self.value = await self.read()
        except AppError as error:
            self.error, least = error, max(least, AFTER_FAILURE_SECONDS)
        else:
            self.error, self.began, self.read_at = None, began, datetime.now(UTC)
        finally:
            rest = min(REST * (self.clock() - began), MAX_REST_SECONDS)
            self.due = began + max(least, rest)
            self.reading = None


def told(error: AppError, *, then: str) -> str:
    """Say why a part cannot be read; `then`: what is to be done where it took too long."""
    match error:
        case StatementCancelled():
            return f"This took too long, and Postgres was stopped: {then}."
        case DatabaseUnavailable():
            return f"This cannot be read: {unavailable(error)}."
        case _:
            return f"This cannot be read: {error}."


async def see_once(reading: Awaitable[T]) -> Seen[T]:
    """Read a part for one page alone; if the database does not answer, the part says so."""
    try:
        value = await reading
    except DatabaseUnavailable as error:
        trouble = told(error, then="load the page anew to try again")
        return Seen(value=None, at=None, trouble=trouble)
    return Seen(value=value, at=datetime.now(UTC))


def ripest(facts: Iterable[Fact[Any]]) -> list[Fact[Any]]:
    """Return the parts to be read for a page that is open: the one whose turn it is of those due.

    So an open page costs one statement each time that it is looked after, whatever it has. Parts
    that were left behind, as nobody looked, come all at once.
    """
    due = [one for one in facts if one.is_due()]
    behind = [one for one in due if one.age >= LEFT_BEHIND and one.error is None]
    return behind or sorted(due, key=lambda one: -one.waited)[:1]


async def see_all(facts: Iterable[Fact[Any]]) -> None:
    """Have parts read that are due, at the same time."""
    await asyncio.gather(*(one.see() for one in facts))


async def end(facts: Iterable[Fact[Any]]) -> None:
    """Stop what is being read."""
    reading = [one.reading for one in facts if one.reading]
    for task in reading:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*reading, return_exceptions=True)
