"""The order of due runs where more are due than can start."""

from datetime import datetime, timedelta

HIGHEST_PRIORITY = 3
"""The highest priority of a job; the usual one, and the lowest, is 0."""
LEVEL = timedelta(minutes=1)
"""What one level of priority is worth: as much as having waited so much longer.

So a due job of the lowest priority goes before every job that came due `HIGHEST_PRIORITY` times as
much later, however many there are of any priority. `tocsin.rank` in SQL has the same.
"""


def rank(due_at: datetime, priority: int) -> datetime:
    """Return the place of a run that came due at `due_at`: the earliest goes first.

    A priority out of range, which a row can have that was written past the rules, counts as the
    nearest one.
    """
    return due_at - LEVEL * min(max(priority, 0), HIGHEST_PRIORITY)
