"""Has work that takes the event loop for milliseconds done in turn, so that none of it adds up."""

import asyncio
from collections.abc import Collection
from itertools import count
from time import monotonic

from app.core.secrets.redaction import redact

LONG = 1024
"""From so many characters on a text is long: to mask one of 16,384 takes the event loop up to 10 ms
if its target wants that, to look for secrets in a body of 262,144 up to 20 ms, and an instance may
have a hundred of them in an instant."""
MANY = 100
"""From so many secrets on they take long to be looked for, in a short text too: 2,000 take 5 ms."""
LARGE = 8192
"""From so many characters on the JSON of a target is large: to decode one of 262,144 takes up to
50 ms if whoever wrote it wants that."""

TURNS_BETWEEN = 4
"""How many turns of the event loop others have before each piece of work: an execution takes some
ten of these turns, each of which would else wait for a piece."""
MIN_REST_SECONDS, MAX_REST_SECONDS = 0.002, 0.05
"""After a piece of work others have the event loop for as long as that took, at most the second; a
rest of less than the first is left out. Executions that wait for Postgres are not ready in time
for the turns of the loop in between."""
OLDEST_EVERY = 4
"""Of so many turns one is for the piece of work that has waited for the longest."""


class Turns:
    """Lets one piece of work after the other begin, whatever else is ready in between.

    The smallest of those that wait comes first: a hundred targets of 140 KB, which take seconds
    together, hold up no answer of 2 KB for long. Nor do small ones without end hold up a large one:
    see `OLDEST_EVERY`.
    """

    def __init__(self) -> None:
        self.taken = False
        """Whether a piece of work has the turn."""
        self.waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        """The pieces that wait, in the order in which they came: size, number, whom to tell."""
        self.came = count()
        self.passed = 0
        """How often the turn was passed on."""
        self.rests_until = 0.0
        """Monotonic seconds; no piece of work begins before."""

    def __repr__(self) -> str:
        return f"<Turns: {'taken' if self.taken else 'free'}, {len(self.waiting)} wait>"

    async def take(self, size: int) -> None:
        """Wait for the turn of the work that follows at once, without another wait.

        `size`: how much work it is, in characters.
        """
        if self.taken:
            await self.wait(size)
        self.taken = True
        try:
            for _ in range(TURNS_BETWEEN):
                await asyncio.sleep(0)  # whatever else is ready comes first
            rest = self.rests_until - monotonic()
            if rest > MIN_REST_SECONDS:
                await asyncio.sleep(rest)
        finally:
            asyncio.get_running_loop().call_soon(self.end, monotonic())

    def end(self, began_at: float) -> None:
        """Note that a piece of work that began then has ended: the next one begins after a rest."""
        ended_at = monotonic()
        self.rests_until = ended_at + min(ended_at - began_at, MAX_REST_SECONDS)
        self.pass_on()

    async def wait(self, size: int) -> None:
        """Wait until the turn is passed on to this piece of work."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append((size, next(self.came), waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Pass the turn on to the smallest piece that waits, or the oldest (`OLDEST_EVERY`)."""
        self.waiting = [one for one in self.waiting if not one[2].done()]  # a few hundred at most
        if not self.waiting:
            self.taken = False
            return
        self.passed += 1
        following = min(self.waiting) if self.passed % OLDEST_EVERY else self.waiting[0]
        self.waiting.remove(following)
        following[2].set_result(None)

    async def redact(self, secrets: Collection[str], text: str) -> str:
        """Return a text with `***` for each secret, see `redact`; in turn if that takes long."""
        if secrets and text and takes_long(secrets, text):
            await self.take(len(text))
        return redact(secrets, text)


def takes_long(secrets: Collection[str], text: str) -> bool:
    """Return whether it takes long to look for these secrets in a text."""
    return len(text) >= LONG or len(secrets) >= MANY
