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
"""Calls a coroutine function again and again while the database is away, at most 1 s apart."""


class Unsettled(NamedTuple):
    """A claim whose settlement Postgres has not taken yet.

    `done` is called once, when Postgres has taken the settlement or the claim turns out to be lost.
    """

    claim: Claim
    settlement: Settlement
    done: Callable[[], None]


Batch = list[Unsettled]
