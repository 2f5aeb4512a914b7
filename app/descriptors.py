"""File descriptors: raises their limit, and tells whether an error means that none was left."""

import errno
import os
import resource
from contextlib import suppress

from app.errors import AppError

SHORTAGES = {errno.EMFILE, errno.ENFILE}
"""The process, or the machine, has no file descriptor left."""


class OutOfDescriptors(AppError):
    """No connection could be opened, as no file descriptor was left; nothing was sent."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard limit.

    The soft limit is low for programs that use `select`, which fails with high descriptors.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has no hard limit, but a highest soft one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Return how many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_shortage(error: BaseException | None) -> bool:
    """Return whether an error, or a cause of it, is a lack of file descriptors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            return True
        error = error.__cause__
    return False


def find_shortage() -> OSError | None:
    """Try to open a file; return the error if no file descriptor is left, else None.

    Some libraries fail for a lack of descriptors without saying so.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error if error.errno in SHORTAGES else None
    return None
