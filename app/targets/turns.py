"""Has work that takes the event loop for milliseconds done in turn, so that none of it adds up."""

import asyncio
from collections.abc import Collection

from app.core.secrets.redaction import redact

LONG = 1024
"""From so many characters on a text is long: to mask one of 16,384 takes the event loop up to 10 ms
if its target wants that, to look for secrets in a body of 262,144 up to 20 ms, and an instance may
have a hundred of them in an instant."""
LARGE = 8192
"""From so many characters on the JSON of a target is large: to decode one of 262,144 takes up to
50 ms if whoever wrote it wants that."""

TURNS_BETWEEN = 4
"""How many turns of the event loop others have between two such pieces of work: an execution takes
some ten, of which each would else wait for a piece."""


class Turns:
    """Lets one such piece of work after the other begin, whatever else is ready in between."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for the turn of the work that follows at once, without another wait."""
        async with self.lock:
            for _ in range(TURNS_BETWEEN):
                await asyncio.sleep(0)  # whatever else is ready comes first

    async def redact(self, secrets: Collection[str], text: str) -> str:
        """Return a text with `***` for each secret, see `redact`; in turn if it is long."""
        if secrets and len(text) >= LONG:
            await self.take()
        return redact(secrets, text)
