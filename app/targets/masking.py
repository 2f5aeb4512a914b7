"""Masks long texts of targets one at a time, so that many at once hold nobody up."""

import asyncio
from collections.abc import Collection

from app.core.secrets.redaction import redact

LONG = 1024
"""From so many characters on a text is long: to mask one of 16,384 takes the event loop up to 10 ms
if its target wants that, and an instance may have a hundred of them in an instant."""


class Masking:
    """Masks the texts of one process in turn, with other work of the event loop in between."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()

    async def redact(self, secrets: Collection[str], text: str) -> str:
        """Return a text with `***` for each secret, see `redact`."""
        if not secrets or len(text) < LONG:
            return redact(secrets, text)
        async with self.turn:
            await asyncio.sleep(0)  # whatever else is ready comes first
            return redact(secrets, text)
