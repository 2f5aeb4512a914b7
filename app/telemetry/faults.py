"""Turns an unexpected error into a fact without the error's text."""

import traceback

from app.core.facts import Faulted
from app.errors import DatabaseUnavailable

FRAMES = 3
"""How many of the innermost frames of the stack a fact names."""


def faulted(where: str, error: BaseException) -> Faulted:
    """Return the fact of an error: its type and the innermost frames, as its text may be secret.

    An outage of the database is no bug: its own sentence, which has no secret, stands for it.
    """
    if isinstance(error, DatabaseUnavailable):
        return Faulted(where=where, error=str(error))
    cause = error.__cause__
    root = cause if cause is not None and cause.__traceback__ is not None else error
    frames = traceback.extract_tb(root.__traceback__)[-FRAMES:]
    places = " < ".join(f"{one.name} ({one.filename}:{one.lineno})" for one in reversed(frames))
    return Faulted(
        where=where, error=f"{type(error).__name__} from {type(root).__name__} in {places}"
    )
