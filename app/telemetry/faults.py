"""Facts about our own failures."""

import traceback

from app.core.facts import Faulted

FRAMES = 3


def faulted(where: str, error: BaseException) -> Faulted:
    """State what failed and in which lines, without the error's text: it may hold a secret."""
    cause = error.__cause__
    root = cause if cause is not None and cause.__traceback__ is not None else error
    frames = traceback.extract_tb(root.__traceback__)[-FRAMES:]
    places = " < ".join(f"{one.name} ({one.filename}:{one.lineno})" for one in reversed(frames))
    return Faulted(
        where=where, error=f"{type(error).__name__} from {type(root).__name__} in {places}"
    )
