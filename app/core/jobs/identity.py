"""Ids of jobs: UUIDs that are ordered by time, and unique without asking the database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICKS_PER_MILLISECOND = 4096
"""The 12 bits after the milliseconds count 4096ths of one (RFC 9562, 6.2, method 3)."""
RANDOM_BITS = 62
"""Random bits of an id."""
NIL = UUID(int=0)
"""The id before all others, which no job has (RFC 9562, 5.9)."""


def uuid7(now: datetime, *, random: int) -> UUID:
    """Make the id of a job created at `now`, as `tocsin.uuid7()` does in SQL.

    RFC 9562, version 7: 48 bits of milliseconds, 12 of their fraction, the lower 62 of `random`.
    """
    microseconds = (now - EPOCH) // timedelta(microseconds=1)
    milliseconds, fraction = divmod(microseconds * TICKS_PER_MILLISECOND // 1000, 4096)
    version, variant = 0x7, 0b10
    return UUID(
        int=milliseconds << 80
        | version << 76
        | fraction << 64
        | variant << RANDOM_BITS
        | random % (1 << RANDOM_BITS)
    )
