"""File descriptors: as many as the system allows, and what to do when there is none left."""

import errno
import os
import resource
from contextlib import suppress

from app.errors import AppError

SHORTAGES = {errno.EMFILE, errno.ENFILE}
"""Of the process, and of the machine."""


class OutOfDescriptors(AppError):
    """No connection could be made for want of a file descriptor; nothing was sent."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one; the soft one is for `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has no hard limit, but a highest soft one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """How many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or the one behind it, tells of too many open files."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            return True
        error = error.__cause__
    return False


def shortage() -> OSError | None:
    """The system's refusal to open anything; None: it does not refuse.

    For libraries that do not tell why they failed.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error if error.errno in SHORTAGES else None
    return None
