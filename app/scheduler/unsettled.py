"""Claims that are to be settled."""

from collections.abc import Callable
from typing import NamedTuple

import stamina

from app.core.runs.claim import Claim, Settlement
from app.errors import DatabaseUnavailable, StatementCancelled


def is_outage(error: Exception) -> bool:
    """Return whether the database is away, rather than too slow for one statement."""
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, StatementCancelled)


patiently = stamina.AsyncRetryingCaller(
    attempts=None, timeout=None, wait_initial=0.05, wait_max=1.0, wait_jitter=0.1
).on(is_outage)
"""Calls again for as long as the database is away."""


class Unsettled(NamedTuple):
    """A claim, how it is to be settled, and what is called once Postgres has taken that.

    `done` is called once, also when the claim turns out to be lost.
    """

    claim: Claim
    settlement: Settlement
    done: Callable[[], None]


Batch = list[Unsettled]
