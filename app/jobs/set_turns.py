"""Sets are applied one at a time in a process."""

import asyncio
from contextlib import suppress
from time import monotonic

from app.core.sets.plan import SetPlan
from app.db import Database
from app.db.clock import PolledClock
from app.errors import DatabaseUnavailable
from app.jobs.key_limits import NotYet
from app.jobs.set_input import Desired
from app.jobs.sets import apply_set
from app.vault import SecretKeys

PATIENCE_SECONDS = 30.0
"""How long a set waits for others that make jobs with the same key."""
PAUSE_SECONDS = 0.1


async def apply_in_turn(
    turn: asyncio.Lock,
    db: Database,
    clock: PolledClock,
    keys: SecretKeys,
    desired: Desired,
) -> SetPlan:
    """Apply a set as `apply_set` does, one at a time in this process: each takes a connection.

    While an application waits for requests that make jobs with its key, others have their turn.

    Raises:
        DatabaseUnavailable: those requests take too long.
        InvalidInput, SetConflict: as `apply_set`.
    """
    until = monotonic() + PATIENCE_SECONDS
    while True:
        async with turn:
            with suppress(NotYet):
                return await apply_set(db, clock, keys, desired)
        if monotonic() >= until:
            message = "others that make jobs with the same API key take too long: try again"
            raise DatabaseUnavailable(message)
        await asyncio.sleep(PAUSE_SECONDS)
